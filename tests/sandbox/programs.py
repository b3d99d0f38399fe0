"""Programs in the sandbox for tests, also where the kernel denies what it needs."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest

from snow_assets.runtime import sandbox
from snow_assets.runtime.sandbox import ExecutionResult, Limits

LIMITS = Limits(seconds=60.0)  # none of these programs comes near, on a busy machine either
ROOT = Path(sandbox.__file__).parents[2]
AN_ORDINARY_USER = 65533
Denial = tuple[str | int, list[list[int]]]  # a system call, and what its arguments equal

FLOOR = sandbox.probe()
needs_floor = pytest.mark.skipif(
    not FLOOR.available and "REQUIRE_SANDBOX" not in os.environ,
    reason=f"the sandbox's floor cannot be had here: {FLOOR.reason}",
)


def run(program: str, limits: Limits = LIMITS) -> ExecutionResult:
    return sandbox.run(textwrap.dedent(program), limits=limits)


# What runs in a process of its own, under a filter that it cannot take off.
_DRIVER = """
import json, sys
request = json.load(sys.stdin)
sys.path[:0] = request["paths"]
import pyseccomp
rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for call, arguments in request["denied"]:
    equal = [pyseccomp.Arg(n, pyseccomp.EQ, value) for n, value in arguments]
    rules.add_rule(pyseccomp.ERRNO(1), call, *equal)
rules.load()
from dataclasses import asdict
from snow_assets.runtime import sandbox
try:
    limits = sandbox.Limits(**request["limits"])
    commands = request["commands"] and sandbox.Commands(**request["commands"])
    execution = sandbox.Execution(program=request["program"], limits=limits, commands=commands)
    (outcome,) = sandbox.run_all([execution], num_cpus=1)
    print(json.dumps(asdict(outcome)))
except sandbox.SandboxUnavailableError as error:
    print(json.dumps({"unavailable": str(error), "probe": asdict(sandbox.probe())}))
"""
UNSHARE: Denial = ("unshare", [])
LANDLOCK: Denial = (444, [])  # landlock_create_ruleset
SECCOMP: Denial = ("prctl", [[0, 22]])  # PR_SET_SECCOMP


def under(
    program: str,
    *denied: Denial,
    user: int | None = None,
    limits: Limits = LIMITS,
    temporary: Path | None = None,
    root: Path = ROOT,
    commands: sandbox.Commands | None = None,
) -> dict[str, str]:
    """The outcome on a program where the kernel denies some calls, as another user if asked.

    The program's folder is in `temporary`, or where the system has such folders; the sandbox's
    code is in `root`.
    """
    import pyseccomp

    interpreter = sys.executable if user is None else shutil.which("python3", path="/usr/bin")
    if interpreter is None:
        pytest.skip("needs /usr/bin/python3, which every user may start")
    request = {
        "paths": [str(root), str(Path(pyseccomp.__file__).parent)],
        "denied": denied,
        "program": textwrap.dedent(program),
        "limits": asdict(limits),
        "commands": None if commands is None else asdict(commands),
    }
    done = subprocess.run(
        [interpreter, "-c", _DRIVER],
        input=json.dumps(request).encode(),
        capture_output=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
        env={} if temporary is None else {"TMPDIR": str(temporary)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


def cpu_seconds() -> float:
    """Of all processes that this one started and that have ended: a busy machine adds none."""
    times = os.times()
    return times.children_user + times.children_system


def parent_of(process: str) -> int:
    """The process id of a process's parent."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("PPid:"))


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it is about what root starts, or about another user")


def named(name: str) -> list[str]:
    """The processes of this name (at most 15 characters)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            found += [path.parent.name] * (path.read_text().strip() == name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found
