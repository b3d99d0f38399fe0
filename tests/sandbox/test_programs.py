"""The sandbox against programs that try to cheat or to outlive it, on the real kernel."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets.runtime.sandbox import Limits
from snow_assets.runtime.sandbox_child import supervisor
from tests.sandbox.programs import (
    AN_ORDINARY_USER,
    FLOOR,
    LIMITS,
    ROOT,
    UNSHARE,
    Denial,
    cpu_seconds,
    named,
    needs_floor,
    needs_root,
    parent_of,
    run,
    under,
)

pytestmark = needs_floor

_LONGEST_WAIT_SECONDS = 120.0  # on a busy machine


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for what one test leaves, open to every user; other tests leave nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


# --- What passes ----------------------------------------------------------------------------------


def test_a_program_that_runs_to_its_end_passes_and_the_level_stands_with_it() -> None:
    outcome = run("def add(a, b):\n    return a + b\n\nassert add(1, 2) == 3")
    assert outcome.outcome == "passed", outcome
    assert outcome.isolation == FLOOR.level
    assert outcome.isolation.startswith("seccomp+landlock+rlimits")
    assert ("uid" in outcome.isolation.split("+")) == (os.geteuid() == 0)


@pytest.mark.parametrize(
    "program",
    [
        "import asyncio\nasync def f(): return 3\nassert asyncio.run(f()) == 3",
        "import pickle\nclass A: pass\nassert pickle.loads(pickle.dumps(A()))",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "import tempfile\nwith tempfile.TemporaryFile() as file: file.write(b'x')",
        "import json.tool, importlib.util, xml.dom.minidom, decimal, zoneinfo, hashlib, sqlite3",
        "assert 'é'.encode('utf-16') and 'é'.encode('cp1252')",
        "import sys, os\nos.write = os._exit = sys.exc_info = None",
        "open('a', 'w').write('é')\nassert open('a').read() == 'é'",
        "import unittest\n"
        "class T(unittest.TestCase):\n    def test(self): self.assertTrue(1)\n"
        "assert unittest.main(exit=False).result.testsRun == 1",
    ],
)
def test_what_ordinary_programs_do_works(program: str) -> None:
    outcome = run(program)
    assert outcome.outcome == "passed", outcome


def test_a_program_costs_little_time() -> None:
    before = cpu_seconds()
    for _ in range(5):
        assert run("pass").outcome == "passed"
    assert (cpu_seconds() - before) / 5 < 1.0


# --- What does not pass ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "last_words"),
    [
        ("assert 1 == 2, 'wrong answer'", "AssertionError: wrong answer"),
        ("raise OSError('mine')", "OSError: mine"),
        ("def f(:", "SyntaxError"),
        ("x = '\udc00'", "UnicodeEncodeError"),
        ("import sys\nsys.stderr = None\n1 / 0", "ZeroDivisionError"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_an_exception_fails_with_its_last_words(program: str, last_words: str) -> None:
    outcome = run(program)
    assert outcome.outcome == "failed"
    assert last_words in outcome.message


def test_the_last_words_show_nothing_of_the_harness() -> None:
    assert "sandbox_child" not in run("1 / 0").message


@pytest.mark.parametrize(
    "program",
    [
        "print('passed')\nimport os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit(0)",
        "import os\nos.abort()",
        "import os\nos.write(2, b'P' * 100)\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, b'0' * 16 + b'P')\n    except OSError: pass\n"
        "os._exit(0)",
    ],
)
def test_to_leave_early_or_to_claim_success_does_not_pass(program: str) -> None:
    assert run(program).outcome in {"failed", "killed"}


def test_the_harness_cannot_be_imported_nor_read() -> None:
    program = f"""
        import __main__, importlib
        assert not hasattr(__main__, "supervise")
        for name in ("sandbox_child", "snow_assets"):
            try: importlib.import_module(name)
            except ImportError: continue
            raise SystemError(name)
        try: open({supervisor.__file__!r})
        except PermissionError: pass
    """
    assert run(program).outcome == "passed"


# --- Limits ---------------------------------------------------------------------------------------


def test_an_endless_loop_is_a_timeout() -> None:
    before = cpu_seconds()
    outcome = run("while True: pass", Limits(seconds=1.0))
    assert outcome.outcome == "timeout"
    assert outcome.seconds >= 1.0
    assert cpu_seconds() - before < 3.0


def test_a_memory_hog_is_told_as_such() -> None:
    assert run("x = bytearray(10 ** 11)").outcome == "memory"
    grown = run("x = []\nwhile True: x.append(' ' * 10 ** 6)", Limits(seconds=60.0))
    assert grown.outcome == "memory"


def test_output_beyond_what_is_kept_is_discarded_and_not_judged() -> None:
    before = cpu_seconds()
    program = "for _ in range(10 ** 4): print('x' * 10 ** 5)\nprint('the end', flush=True)"
    outcome = run(program, Limits(seconds=300.0))  # a gigabyte
    assert outcome.outcome == "passed"
    assert outcome.message.endswith("the end\n")
    assert len(outcome.message) <= 2000
    assert cpu_seconds() - before < 20.0


def test_endless_output_is_a_timeout() -> None:
    before = cpu_seconds()
    outcome = run("while True: print('x' * 10 ** 5)", Limits(seconds=1.0))
    assert outcome.outcome == "timeout"
    assert outcome.seconds >= 1.0
    assert cpu_seconds() - before < 5.0


DEEP_RECURSIONS = {
    "calls": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
    "repr of a nested list": "x = []\nfor _ in range(10 ** 6): x = [x]\nimport sys\n"
    "sys.setrecursionlimit(10 ** 9)\nwhile True:\n"
    "    try: repr(x)\n    except RecursionError: pass",
    "handlers": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n):\n"
    "    try: f(n + 1)\n    except RecursionError: raise ValueError(str(n) * 100)\nf(1)",
    "keys of a sort": "import sys\nsys.setrecursionlimit(10 ** 9)\n"
    "def f(x): return sorted([1, 2], key=f)\nf(1)",
    "a thread with a large stack": "import sys, threading\nsys.setrecursionlimit(10 ** 9)\n"
    "threading.stack_size(900 * 2 ** 20)\ndef f(x): return sorted([1, 2], key=f)\n"
    "t = threading.Thread(target=f, args=(1,))\nt.start()\nt.join()\nassert 0",
    "freeing a nested tuple": "x = None\nfor _ in range(10 ** 7): x = (x,)\ndel x\nassert 0",
    "handlers of signals": "import signal\n"
    "for number in (2, 10, 14, 15, 24): signal.signal(number, signal.SIG_IGN)\nwhile True: pass",
}


@pytest.mark.parametrize("name", DEEP_RECURSIONS)
def test_no_program_takes_more_than_its_limit(name: str) -> None:
    for denied in ((), (UNSHARE,)):
        before = cpu_seconds()
        answer = under(DEEP_RECURSIONS[name], *denied, limits=Limits(seconds=1.0))
        assert answer["outcome"] in {"timeout", "killed", "failed", "memory"}, answer
        assert cpu_seconds() - before < 4.0  # with three interpreters' starts


def test_threads_that_use_several_processors_end_at_the_limit_of_cpu_seconds() -> None:
    program = """
        import hashlib, threading
        def burn():
            while True: hashlib.sha256(bytes(10 ** 7)).digest()
        for _ in range(8): threading.Thread(target=burn).start()
    """
    before = cpu_seconds()
    assert run(program + "    while True: pass", Limits(seconds=2.0)).outcome == "timeout"
    assert cpu_seconds() - before < 8.0


FILL_THE_DISK = """
    for i in range(10 ** 6):
        with open(str(i), "wb") as file:
            file.write(bytes(10 ** 6))
"""
FILL_IT_WITH_NAMES = "import os\nfor i in range(10 ** 6): os.mkdir(str(i))"
HIDE_WHAT_FILLS_IT = """
    import os
    os.mkdir("hidden", 0o300)
    for i in range(10 ** 6):
        with open(f"hidden/{i}", "wb") as file:
            file.write(bytes(10 ** 6))
"""
DIG_DEEP = "import os\nfor _ in range(1200):\n    os.mkdir('d')\n    os.chdir('d')"


@pytest.mark.parametrize("program", [FILL_THE_DISK, FILL_IT_WITH_NAMES, HIDE_WHAT_FILLS_IT])
@pytest.mark.parametrize("denied", [(), (UNSHARE,)], ids=["namespaces", "floor"])
def test_filling_the_disk_is_cut_off_and_nothing_stays(
    program: str, denied: tuple[Denial, ...], temporary: Path
) -> None:
    limits = Limits(seconds=60.0, folder_bytes=1 << 23)
    answer = under(program, *denied, limits=limits, temporary=temporary)
    assert answer["outcome"] in {"folder", "failed"}, answer
    assert list(temporary.iterdir()) == []


def test_a_deep_folder_breaks_neither_the_watch_nor_the_clearing(temporary: Path) -> None:
    answer = under(DIG_DEEP, UNSHARE, limits=Limits(seconds=60.0), temporary=temporary)
    assert answer["outcome"] == "passed", answer
    assert list(temporary.iterdir()) == []


# --- Processes ------------------------------------------------------------------------------------

NAMED = "import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'{}', 0, 0, 0)\n"


@pytest.mark.parametrize("denied", [(), (UNSHARE,)], ids=["namespaces", "floor"])
def test_a_program_has_threads_up_to_its_limit_and_no_other_process(
    denied: tuple[Denial, ...],
) -> None:
    program = """
        import os, threading, time
        num_threads = 0
        try:
            while num_threads < 100:
                threading.Thread(target=time.sleep, args=(30,)).start()
                num_threads += 1
        except RuntimeError:
            pass
        assert 4 <= num_threads <= 8, num_threads
        for start in (os.fork, lambda: os.posix_spawn("/bin/true", ["true"], {})):
            try: start()
            except PermissionError: continue
            raise SystemError("a process was started")
    """
    needs_root()  # an ordinary user's limit counts what else it runs
    answer = under(program, *denied, limits=replace(LIMITS, threads=8))
    assert answer["outcome"] == "passed", answer


@pytest.mark.parametrize("denied", [(), (UNSHARE,)], ids=["namespaces", "floor"])
@pytest.mark.parametrize("user", [None, AN_ORDINARY_USER], ids=["own-user", "ordinary-user"])
def test_an_endless_program_with_endless_threads_leaves_nothing(
    denied: tuple[Denial, ...], user: int | None
) -> None:
    if user is not None:
        needs_root()
    name = f"left-{os.getpid()}"
    program = NAMED.format(name) + (
        "import threading\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        "while True: pass"
    )
    answer = under(program, *denied, user=user, limits=Limits(seconds=1.0))
    assert answer["outcome"] == "timeout", answer
    assert named(name) == []


STARTER = """
import sys; sys.path[:0] = {paths!r}
import pyseccomp
if {is_floor}:
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.add_rule(pyseccomp.ERRNO(1), "unshare")
    rules.load()
from snow_assets.runtime import sandbox
print(sandbox.run({program!r}, limits=sandbox.Limits(seconds=600.0)).outcome)
"""


@pytest.mark.parametrize("is_floor", [False, True], ids=["namespaces", "floor"])
def test_the_program_ends_with_a_supervisor_that_is_killed_and_has_failed(
    temporary: Path, is_floor: bool
) -> None:
    name = f"orphan-{os.getpid()}"
    script = STARTER.format(
        paths=[str(ROOT), *sys.path],
        program=NAMED.format(name) + "time.sleep(600)",
        is_floor=is_floor,
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script], env={"TMPDIR": str(temporary)}, stdout=subprocess.PIPE
    )
    wait_until(lambda: len(named(name)) == 1)
    (program,) = named(name)
    os.kill(parent_of(program), signal.SIGKILL)
    outcome, _ = starter.communicate(timeout=_LONGEST_WAIT_SECONDS)
    assert outcome.strip() == b"failed"
    wait_until(lambda: named(name) == [])


def test_the_program_ends_with_whoever_started_it(temporary: Path) -> None:
    name = f"orphan-{os.getpid()}"
    program = NAMED.format(name) + "time.sleep(600)"
    script = (
        f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\n"
        "from snow_assets.runtime import sandbox\n"
        f"sandbox.run({program!r}, limits=sandbox.Limits(seconds=600.0))"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], env={"TMPDIR": str(temporary)})
    wait_until(lambda: len(named(name)) == 1)
    starter.kill()
    starter.wait()
    wait_until(lambda: named(name) == [])


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
