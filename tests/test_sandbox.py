"""The sandbox against programs that try to get out or to cheat, on the real kernel."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from snow_assets import sandbox
from snow_assets.sandbox import Limits, Verdict

LIMITS = Limits(seconds=5.0)
ROOT = Path(sandbox.__file__).parent.parent
AN_ORDINARY_USER = 65533
Denial = tuple[str | int, list[list[int]]]  # a system call, and what its arguments equal

FLOOR = sandbox.probe()
pytestmark = pytest.mark.skipif(
    not FLOOR.available and "REQUIRE_SANDBOX" not in os.environ,
    reason=f"the sandbox's floor cannot be had here: {FLOOR.reason}",
)


def run(program: str, limits: Limits = LIMITS) -> Verdict:
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
from snow_assets import sandbox
try:
    verdict = sandbox.run(request["program"], limits=sandbox.Limits(**request["limits"]))
    print(json.dumps(asdict(verdict)))
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
) -> dict[str, str]:
    """The verdict on a program where the kernel denies some calls, as another user if asked."""
    import pyseccomp

    interpreter = sys.executable if user is None else shutil.which("python3", path="/usr/bin")
    if interpreter is None:
        pytest.skip("needs /usr/bin/python3, which every user may start")
    request = {
        "paths": [str(ROOT), str(Path(pyseccomp.__file__).parent)],
        "denied": denied,
        "program": textwrap.dedent(program),
        "limits": asdict(limits),
    }
    done = subprocess.run(
        [interpreter, "-c", _DRIVER],
        input=json.dumps(request).encode(),
        capture_output=True, user=user, group=user, extra_groups=None if user is None else [],
        cwd="/", env={}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


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


def left_folders() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob("snow-sandbox-*"))


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
    assert run("x = []\nwhile True: x.append(' ' * 10 ** 6)").outcome == "memory"


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
    program: str, denied: tuple[Denial, ...]
) -> None:
    before = left_folders()
    limits = Limits(seconds=60.0, folder_bytes=1 << 23)
    assert under(program, *denied, limits=limits)["outcome"] in {"output", "failed"}
    assert set(left_folders()) <= set(before)


def test_a_deep_folder_breaks_neither_the_watch_nor_the_clearing() -> None:
    before = left_folders()
    assert under(DIG_DEEP, UNSHARE, limits=Limits(seconds=60.0))["outcome"] == "passed"
    assert set(left_folders()) <= set(before)


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


def test_the_program_ends_with_whoever_started_it() -> None:
    name = f"orphan-{os.getpid()}"
    program = NAMED.format(name) + "time.sleep(60)"
    script = (
        f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\n"
        "from snow_assets import sandbox\n"
        f"sandbox.run({program!r}, limits=sandbox.Limits(seconds=50.0))"
    )
    starter = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: len(named(name)) == 1)
    starter.kill()
    starter.wait()
    wait_until(lambda: named(name) == [])
    for folder in left_folders():  # its own: the killed process could not clear it
        if folder.stat().st_uid >= 2_000_000_000 and not any(folder.iterdir()):
            folder.rmdir()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not come about in 30 s"
        time.sleep(0.05)


# --- Walls ----------------------------------------------------------------------------------------

REFUSED_ACTS = [
    "import socket; socket.socket()",
    "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "open('/etc/passwd')",
    "open('/proc/self/environ')",
    f"open('/proc/{os.getpid()}/environ')",
    f"open('/proc/{os.getpid()}/mem')",
    "import os; open(f'/proc/{os.getppid()}/mem')",
    f"open({__file__!r})",
    f"import os; os.listdir({str(ROOT)!r})",
    f"import os; os.listdir({str(Path.home())!r})",
    "import os; os.listdir('/tmp')",
    "open('/dev/shm/x', 'w')",
    "import os; os.kill(1, 0)",
    "import os; os.kill(os.getppid(), 9)",
    "import os; os.execv('/bin/sh', ['sh', '-c', 'true'])",
    "import subprocess; subprocess.run(['/bin/true'])",
    "import os; os.setsid()",
    "import os; os.setpgid(0, 0)",
    "import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "import os; os.sched_setaffinity(os.getppid(), {0})",
    "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
    "import os; os.pidfd_open(os.getppid())",
    "import os; os.memfd_create('x')",
]
REFUSED_CALLS = [
    *(f"unshare({flag})" for flag in (0x20000, 0x80, 0x10000000, 0x20000000, 0x40000000)),
    "setns(0, 0)",
    "syscall(56, 0x10000011, 0, 0, 0, 0)",  # clone with CLONE_NEWUSER
    "ptrace(0, 0, 0, 0)",
    "ptrace(16, getppid(), 0, 0)",
    "process_vm_readv(getppid(), 0, 0, 0, 0, 0)",
    "shmget(0, 4096, 0o1600)",
    "msgget(0, 0o1600)",
    "prctl(4, 1, 0, 0, 0)",
]


def test_every_act_beyond_its_walls_is_refused() -> None:
    program = "import ctypes\n"
    for act in REFUSED_ACTS:
        program += f"try:\n    {act}\nexcept OSError:\n    pass\n"
        program += f"else:\n    raise SystemError({act!r})\n"
    for call in REFUSED_CALLS:
        call = call.replace("getppid()", "ctypes.CDLL(None).getppid()")
        program += f"assert ctypes.CDLL(None).{call} == -1, {call!r}\n"
    users = (None, AN_ORDINARY_USER) if os.geteuid() == 0 else (None,)
    for user in users:
        for denied in ((), (UNSHARE,)):
            answer = under(program, *denied, user=user, limits=Limits(seconds=20.0))
            assert answer["outcome"] == "passed", answer


def test_what_the_same_user_owns_outside_cannot_be_changed() -> None:
    needs_root()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        victim = Path(folder) / "victim"
        victim.write_text("precious")
        os.chown(victim, AN_ORDINARY_USER, AN_ORDINARY_USER)
        program = f"""
            import os
            victim = {str(victim)!r}
            for act in (
                lambda: open(victim),
                lambda: os.chmod(victim, 0o777),
                lambda: os.utime(victim, (1, 1)),
                lambda: os.truncate(victim, 0),
                lambda: os.open(victim, os.O_RDONLY | os.O_TRUNC),
                lambda: os.setxattr(victim, "user.x", b""),
                lambda: os.unlink(victim),
                lambda: os.rename(victim, "mine"),
                lambda: os.link(victim, "mine"),
            ):
                try: act()
                except OSError: continue
                raise SystemError(act.__code__.co_firstlineno)
        """
        for denied in ((), (UNSHARE,)):
            answer = under(program, *denied, user=AN_ORDINARY_USER)
            assert answer["outcome"] == "passed", answer
        assert victim.read_text() == "precious"


def test_no_capability_is_held() -> None:
    program = """
        import ctypes, struct
        held = ctypes.create_string_buffer(24)
        assert ctypes.CDLL(None).capget(struct.pack("=Ii", 0x20080522, 0), held) == 0
        assert held.raw == bytes(24), held.raw
    """
    assert run(program).outcome == "passed"


def test_no_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    verdict = run("import os\nassert set(os.environ) == {'HOME', 'TMPDIR'}, os.environ")
    assert verdict.outcome == "passed", verdict


def test_no_descriptor_is_inherited() -> None:
    with tempfile.TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)
        program = """
            import os, stat
            kinds = []
            for descriptor in range(3, 64):
                try: kinds.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
                except OSError: pass
            assert sorted(kinds) == [stat.S_IFIFO, stat.S_IFDIR], kinds  # proof, and library
        """
        assert run(program).outcome == "passed"


# --- The floor ------------------------------------------------------------------------------------


def test_without_namespaces_the_level_says_so() -> None:
    answer = under("pass", UNSHARE)
    assert answer["outcome"] == "passed", answer
    assert "namespaces" not in answer["isolation"]


@pytest.mark.parametrize(("missing", "name"), [(LANDLOCK, "Landlock"), (SECCOMP, "seccomp")])
def test_without_the_floor_nothing_runs_and_the_reason_is_told(missing: Denial, name: str) -> None:
    answer = under("pass", missing)
    assert name in answer["unavailable"]
    assert dict(answer["probe"])["available"] is False  # type: ignore[arg-type]
    assert dict(answer["probe"])["level"] == "none"  # type: ignore[arg-type]


def test_without_libseccomp_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._filter.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    assert "pyseccomp" in sandbox.probe().reason
    with pytest.raises(sandbox.SandboxUnavailableError):
        run("pass")


def test_a_hole_in_the_floor_is_found_by_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._filter.cache_clear()
    monkeypatch.setattr(sandbox, "_ALLOWED", sandbox._ALLOWED + " socket")
    found = sandbox.probe()
    sandbox._filter.cache_clear()
    assert not found.available
    assert "not refused" in found.reason


def test_it_imports_where_dagster_torch_and_pyseccomp_are_missing() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['dagster', 'torch', 'pyseccomp']));"
    subprocess.run(
        [sys.executable, "-c", f"{blocked} import snow_assets.sandbox"], cwd=ROOT, check=True
    )
