"""The sandbox against programs that try to cheat or to outlive it, on the real kernel."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets import sandbox
from snow_assets.sandbox import Limits
from tests.sandbox.programs import (
    AN_ORDINARY_USER,
    FLOOR,
    LIMITS,
    ROOT,
    UNSHARE,
    Denial,
    named,
    needs_floor,
    needs_root,
    run,
    under,
)

pytestmark = needs_floor


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for what one test leaves, open to every user; other tests leave nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


# --- What passes ----------------------------------------------------------------------------------


def test_a_program_that_runs_to_its_end_passes_and_the_level_stands_with_it() -> None:
    verdict = run("def add(a, b):\n    return a + b\n\nassert add(1, 2) == 3")
    assert verdict.outcome == "passed", verdict
    assert verdict.isolation == FLOOR.level
    assert verdict.isolation.startswith("seccomp+landlock+rlimits")
    assert ("uid" in verdict.isolation.split("+")) == (os.geteuid() == 0)


@pytest.mark.parametrize(
    "program",
    [
        "import asyncio\nasync def f(): return 3\nassert asyncio.run(f()) == 3",
        "import pickle\nclass A: pass\nassert pickle.loads(pickle.dumps(A()))",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "import tempfile\nwith tempfile.TemporaryFile() as file: file.write(b'x')",
        "import json.tool, importlib.util, xml.dom.minidom, decimal, zoneinfo, hashlib, sqlite3",
        "assert 'é'.encode('utf-16') and 'é'.encode('cp1252')",
        "import os\npid = os.fork()\nif not pid: os._exit(0)\nassert os.waitpid(pid, 0)[1] == 0",
        "import sys, os\nos.write = os._exit = sys.exc_info = None",
        "open('a', 'w').write('é')\nassert open('a').read() == 'é'",
        "import unittest\n"
        "class T(unittest.TestCase):\n    def test(self): self.assertTrue(1)\n"
        "assert unittest.main(exit=False).result.testsRun == 1",
    ],
)
def test_what_ordinary_programs_do_works(program: str) -> None:
    verdict = run(program)
    assert verdict.outcome == "passed", verdict


def test_a_program_costs_little_time() -> None:
    run("pass")
    start = time.monotonic()
    for _ in range(5):
        assert run("pass").outcome == "passed"
    assert (time.monotonic() - start) / 5 < 1.0  # 0.05 to 0.1 s on an idle machine


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
    verdict = run(program)
    assert verdict.outcome == "failed"
    assert last_words in verdict.message


def test_the_last_words_show_nothing_of_the_harness() -> None:
    assert "sandbox_child" not in run("1 / 0").message


@pytest.mark.parametrize(
    "program",
    [
        "print('passed')\nimport os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit(0)",
        "import os\nos.abort()",
        "import os\nif os.fork():\n    os.wait()\n    os._exit(0)",  # the fork runs to the end
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
        try: open({sandbox.sandbox_child.__file__!r})
        except PermissionError: pass
    """
    assert run(program).outcome == "passed"


# --- Limits ---------------------------------------------------------------------------------------


def test_an_endless_loop_is_a_timeout() -> None:
    verdict = run("while True: pass", Limits(seconds=1.0))
    assert verdict.outcome == "timeout"
    assert 1.0 <= verdict.seconds < 3.0


def test_a_memory_hog_is_told_as_such() -> None:
    assert run("x = bytearray(10 ** 11)").outcome == "memory"
    grown = run("x = []\nwhile True: x.append(' ' * 10 ** 6)", Limits(seconds=60.0))
    assert grown.outcome == "memory"


def test_ten_gigabytes_of_output_are_cut_off_quickly() -> None:
    start = time.monotonic()
    verdict = run("for _ in range(10 ** 5): print('x' * 10 ** 5)", Limits(seconds=60.0))
    assert verdict.outcome == "output"
    assert len(verdict.message) <= 2000
    assert time.monotonic() - start < 20


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
    assert answer["outcome"] in {"output", "failed"}, answer
    assert list(temporary.iterdir()) == []


def test_a_deep_folder_breaks_neither_the_watch_nor_the_clearing(temporary: Path) -> None:
    answer = under(DIG_DEEP, UNSHARE, limits=Limits(seconds=60.0), temporary=temporary)
    assert answer["outcome"] == "passed", answer
    assert list(temporary.iterdir()) == []


# --- Processes ------------------------------------------------------------------------------------

NAMED = "import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'{}', 0, 0, 0)\n"
FORK_BOMB = NAMED + (
    "while True:\n"
    "    try: os.fork()\n"
    "    except OSError: pass\n"
)  # fmt: skip
# Each lives for an instant; whoever lists processes and then kills them comes too late.
RUNNER = NAMED + (
    "end = time.time() + 30\n"
    "if os.fork(): os._exit(0)\n"
    "while time.time() < end:\n"
    "    if os.fork(): os._exit(0)\n"
)  # fmt: skip
ORPHAN = NAMED + (
    "if not os.fork():\n"
    "    if not os.fork(): time.sleep(30)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)  # fmt: skip


@pytest.mark.parametrize("user", [None, AN_ORDINARY_USER], ids=["own-user", "ordinary-user"])
@pytest.mark.parametrize("denied", [(), (UNSHARE,)], ids=["namespaces", "floor"])
@pytest.mark.parametrize(
    ("program", "outcome"), [(FORK_BOMB, "timeout"), (RUNNER, "failed"), (ORPHAN, "passed")]
)
def test_no_process_outlives_its_program(
    program: str,
    outcome: str,
    denied: tuple[Denial, ...],
    user: int | None,
) -> None:
    if user is not None:
        needs_root()
    name = f"left-{os.getpid()}"
    answer = under(program.format(name), *denied, user=user, limits=Limits(seconds=1.0))
    assert answer["outcome"] == outcome, answer
    assert named(name) == []


def test_a_fork_bomb_started_by_root_has_no_more_processes_than_allowed() -> None:
    needs_root()
    program = """
        import os, time
        made = 0
        try:
            while made < 100:
                if not os.fork(): time.sleep(30)
                made += 1
        except BlockingIOError:
            pass
        assert 1 <= made <= 8, made
    """
    for denied in ((), (UNSHARE,)):
        answer = under(program, *denied, limits=replace(LIMITS, processes=8))
        assert answer["outcome"] == "passed", answer


def test_the_program_ends_with_whoever_started_it(temporary: Path) -> None:
    name = f"orphan-{os.getpid()}"
    program = NAMED.format(name) + "time.sleep(60)"
    script = (
        f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\n"
        "from snow_assets import sandbox\n"
        f"sandbox.run({program!r}, limits=sandbox.Limits(seconds=50.0))"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], env={"TMPDIR": str(temporary)})
    wait_until(lambda: len(named(name)) == 1)
    starter.kill()
    starter.wait()
    wait_until(lambda: named(name) == [])


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not come about in 30 s"
        time.sleep(0.05)
