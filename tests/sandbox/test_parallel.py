"""Programs beside each other: the outcomes that each has alone, bounded, and ended together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyseccomp
import pytest

from snow_assets.runtime import sandbox
from tests.sandbox.programs import AN_ORDINARY_USER, LIMITS, ROOT, named, needs_floor, needs_root
from tests.sandbox.test_programs import NAMED, temporary, wait_until

__all__ = ["temporary"]

pytestmark = needs_floor

MIXED = {
    "pass": "passed",
    "raise ValueError": "failed",
    "while True: pass": "timeout",
    "import time\ntime.sleep(60)": "timeout",
    "import os\nos._exit(0)": "failed",
    "bytearray(1 << 31)": "memory",
    "import threading\nthreading.Thread(target=print).start()": "passed",
}


@pytest.mark.parametrize("is_floor", [False, True], ids=["namespaces", "floor, one user"])
def test_programs_beside_each_other_have_the_outcomes_that_they_have_alone(
    is_floor: bool, temporary: Path
) -> None:
    interpreter: str | None = sys.executable
    if is_floor:
        needs_root()
        interpreter = shutil.which("python3", path="/usr/bin")
        if interpreter is None:
            pytest.skip("needs /usr/bin/python3, which every user may start")
    script = RUN_ALL.format(
        paths=[str(ROOT), str(Path(pyseccomp.__file__).parent)],
        programs=[
            (program, 1.0 if outcome == "timeout" else LIMITS.seconds)
            for program, outcome in MIXED.items()
        ]
        * 2,
        is_floor=is_floor,
    )
    process = subprocess.run(
        [str(interpreter), "-c", script],
        env={"TMPDIR": str(temporary)},
        user=AN_ORDINARY_USER if is_floor else None,
        group=AN_ORDINARY_USER if is_floor else None,
        extra_groups=[] if is_floor else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.split() == list(MIXED.values()) * 2, process.stderr


RUN_ALL = """
import sys; sys.path[:0] = {paths!r}
import pyseccomp
if {is_floor}:
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.add_rule(pyseccomp.ERRNO(1), "unshare")
    rules.load()
from snow_assets.runtime import sandbox
executions = [
    sandbox.Execution(program=program, limits=sandbox.Limits(seconds=seconds))
    for program, seconds in {programs!r}
]
print(*(result.outcome for result in sandbox.run_all(executions, num_cpus=4)))
"""


def test_programs_run_at_the_same_time_and_at_most_as_many_as_are_asked_for() -> None:
    clock = (
        "import time\nprint(time.monotonic())\ntime.sleep(3)\nprint(time.monotonic(), flush=True)"
    )
    executions = [sandbox.Execution(program=clock, limits=LIMITS)] * 4
    results = sandbox.run_all(executions, num_cpus=2)
    spans = [tuple(map(float, result.message.split())) for result in results]
    overlaps = [sum(begin <= other_begin < end for begin, end in spans) for other_begin, _ in spans]
    assert max(overlaps) == min(2, len(os.sched_getaffinity(0)))


def test_all_programs_end_at_once_when_their_caller_is_told_to_stop(temporary: Path) -> None:
    name = f"orphan-{os.getpid()}"
    program = NAMED.format(name) + "time.sleep(600)"
    script = (
        f"import signal, sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "from snow_assets.runtime import sandbox\n"
        f"one = sandbox.Execution(program={program!r}, limits=sandbox.Limits(seconds=600.0))\n"
        "sandbox.run_all([one] * 6, num_cpus=2)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], env={"TMPDIR": str(temporary)})
    wait_until(lambda: len(named(name)) >= 1)
    starter.terminate()
    assert starter.wait(120) == 7
    wait_until(lambda: named(name) == [])
    assert list(temporary.iterdir()) == []
