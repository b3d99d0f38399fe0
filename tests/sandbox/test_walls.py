"""What a program in the sandbox cannot reach, and what it refuses to run without."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from snow_assets.runtime import sandbox, sandbox_filter
from snow_assets.runtime.sandbox import Limits
from tests.sandbox.programs import (
    AN_ORDINARY_USER,
    LANDLOCK,
    ROOT,
    SECCOMP,
    UNSHARE,
    Denial,
    needs_floor,
    needs_root,
    run,
    under,
)

pytestmark = needs_floor


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
    outcome = run("import os\nassert set(os.environ) == {'HOME', 'TMPDIR'}, os.environ")
    assert outcome.outcome == "passed", outcome


def test_no_descriptor_is_inherited() -> None:
    with tempfile.TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)
        program = """
            import os, stat
            kinds = []
            for descriptor in range(3, 64):
                try: kinds.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
                except OSError: pass
            pipes = [stat.S_IFIFO] * 2  # calls and answers; and the library's folder
            assert sorted(kinds) == [*pipes, stat.S_IFDIR], kinds
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
    sandbox_filter.seccomp_filter.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    assert "pyseccomp" in sandbox.probe().reason
    with pytest.raises(sandbox.SandboxUnavailableError):
        run("pass")


@pytest.mark.parametrize(
    ("constant", "more"),
    [
        ("_ALLOWED", " socket"),
        ("_ALLOWED", " prctl"),
        ("_FCNTL_COMMANDS", (8,)),
        ("_FCNTL_COMMANDS", (10,)),
        ("_FCNTL_COMMANDS", (15,)),
        ("_FCNTL_COMMANDS", (4,)),
        ("_IOCTL_REQUESTS", (0x5452,)),
        ("_IOCTL_REQUESTS", (0x8901,)),
    ],
    ids=["socket", "prctl", "F_SETOWN", "F_SETSIG", "F_SETOWN_EX", "O_ASYNC", "FIOASYNC", "SETOWN"],
)
def test_a_hole_in_the_floor_makes_the_probe_say_unavailable(
    constant: str, more: str | tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_filter, constant, getattr(sandbox_filter, constant) + more)
    sandbox_filter.seccomp_filter.cache_clear()
    isolation = sandbox.probe()
    sandbox_filter.seccomp_filter.cache_clear()
    assert not isolation.available
    assert "not refused" in isolation.reason


def test_it_imports_where_dagster_torch_and_pyseccomp_are_missing() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['dagster', 'torch', 'pyseccomp']));"
    subprocess.run(
        [sys.executable, "-c", f"{blocked} import snow_assets.runtime.sandbox"],
        cwd=ROOT,
        check=True,
    )
