"""The sandbox against programs that try to get out, on the real kernel."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest

from snow_assets import sandbox
from snow_assets.sandbox import Limits, SandboxUnavailableError, Verdict

LIMITS = Limits(seconds=3.0)
NOBODY = 65534
FLOOR = sandbox.probe()

pytestmark = pytest.mark.skipif(
    not FLOOR.available and "REQUIRE_SANDBOX" not in os.environ,
    reason=f"the sandbox's floor cannot be had here: {FLOOR.reason}",
)


def run(program: str, **limits: float) -> Verdict:
    return sandbox.run(textwrap.dedent(program), limits=Limits(**{**asdict(LIMITS), **limits}))


def processes_with(argument: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == argument:
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def test_a_program_that_runs_to_its_end_passes() -> None:
    verdict = run("import random, heapq, decimal, hashlib\nassert sum([1, 2]) == 3")
    assert verdict.outcome == "passed"
    assert verdict.isolation.startswith("seccomp+landlock+rlimits")


def test_a_failed_assertion_fails_with_its_last_words() -> None:
    verdict = run("assert 1 == 2, 'wrong answer'")
    assert verdict.outcome == "failed"
    assert "wrong answer" in verdict.message


@pytest.mark.parametrize(
    "program",
    [
        "print('passed')\nimport os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit(0)",
        "import os\nos.write(1, b'confined ')\nos.write(3, b'0' * 32)\nos._exit(0)",
        "import os, signal\nos.abort()",
    ],
)
def test_ending_early_never_passes(program: str) -> None:
    assert run(program).outcome in {"failed", "killed"}


def test_an_endless_loop_is_a_timeout() -> None:
    assert run("while True: pass", seconds=1.0).outcome == "timeout"


def test_a_memory_hog_is_told_as_such() -> None:
    assert run("x = bytearray(10 ** 11)").outcome == "memory"


def test_endless_output_is_cut_off() -> None:
    verdict = run("while True: print('x' * 100_000)", seconds=30.0)
    assert verdict.outcome == "output"
    assert verdict.seconds < 25
    assert len(verdict.message) <= 2000


def test_filling_the_disk_is_cut_off() -> None:
    program = """
        i = 0
        while True:
            i += 1
            open(str(i), "wb").write(b"x" * 1_000_000)
    """
    assert run(program, seconds=30.0, folder_bytes=1 << 23).outcome in {"output", "failed"}


FORK_BOMB = """
    import ctypes, os
    ctypes.CDLL(None).prctl(15, b"bombling", 0, 0, 0)  # its name
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


def test_a_fork_bomb_started_by_root_is_contained_and_leaves_nothing() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it is about what root starts")
    assert run(FORK_BOMB, seconds=1.0).outcome == "timeout"
    assert processes_with("bombling") == []


def test_a_child_that_left_its_session_is_killed() -> None:
    program = """
        import ctypes, os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(15, b"survivor", 0, 0, 0)
                time.sleep(600)
            os._exit(0)
        os.wait()
    """
    assert run(program).outcome == "passed"
    assert processes_with("survivor") == []


@pytest.mark.parametrize(
    "act",
    [
        "import socket; socket.socket()",
        "import socket; socket.socketpair()",
        "open('/etc/passwd')",
        "open('/proc/self/environ')",
        f"open('/proc/{os.getpid()}/environ')",
        f"open('/proc/{os.getpid()}/mem')",
        f"open({__file__!r})",
        f"__import__('os').listdir({str(Path.home())!r})",
        "__import__('os').listdir('/tmp')",
        "__import__('os').kill(1, 0)",
        f"__import__('os').kill({os.getpid()}, 0)",
        "__import__('os').execv('/bin/sh', ['sh', '-c', 'true'])",
        "__import__('subprocess').run(['/bin/true'])",
        "open('/dev/shm/x', 'w')",
    ],
)
def test_an_act_beyond_the_folder_is_refused(act: str) -> None:
    verdict = run(
        f"try:\n    {act}\nexcept OSError:\n    pass\nelse:\n    raise SystemError('done')"
    )
    assert verdict.outcome == "passed", verdict.message


@pytest.mark.parametrize("flag", [0x10000000, 0x20000000, 0x40000000, 0x20000, 0x80])
def test_new_namespaces_are_refused(flag: int) -> None:
    program = f"import ctypes\nassert ctypes.CDLL(None).unshare({flag}) == -1"
    assert run(program).outcome == "passed"


def test_its_own_folder_is_its_to_write() -> None:
    assert run("open('a', 'w').write('x')\nassert open('a').read() == 'x'").outcome == "passed"


def test_no_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    verdict = run("import os\nassert 'planted' not in str(os.environ), os.environ")
    assert verdict.outcome == "passed", verdict.message


def under(program: str, wrapper: str, *, user: int | None = None) -> dict[str, object]:
    """The supervisor's answer when it starts after `wrapper`, as another user if asked."""
    if user is None:
        interpreter = sys.executable
    elif (system := shutil.which("python3", path="/usr/bin")) is None:
        pytest.skip("needs /usr/bin/python3, which every user may start")
    else:
        interpreter = system
    supervisor = sandbox._SUPERVISOR
    start = (
        f"import sys; sys.path.append({sandbox._SECCOMP_FOLDER!r})\n{wrapper}\n"
        f"import os; os.execv({interpreter!r}, [{interpreter!r}, '-I', '-S', {str(supervisor)!r}, "
        f"{sandbox._SECCOMP_FOLDER!r}])"
    )
    done = subprocess.run(
        [interpreter, "-c", start],
        input=json.dumps({"program": textwrap.dedent(program), **asdict(LIMITS)}).encode(),
        capture_output=True, user=user, group=user, cwd="/", env={}, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def denying(*syscalls: str) -> str:
    rules = "\n".join(f"f.add_rule(s.ERRNO(38), {name!r})" for name in syscalls)
    return f"import pyseccomp as s\nf = s.SyscallFilter(s.ALLOW)\n{rules}\nf.load()"


SURVIVOR_AND_BOMB = FORK_BOMB.replace("bombling", "nobodys")


def test_the_floor_alone_holds_where_namespaces_are_refused() -> None:
    answer = under(sandbox._FORBIDDEN_ACTS, denying("unshare"))
    assert answer["outcome"] == "passed", answer
    assert "namespaces" not in str(answer["isolation"])
    assert under(SURVIVOR_AND_BOMB, denying("unshare"))["outcome"] == "timeout"
    assert processes_with("nobodys") == []


def test_an_ordinary_user_has_the_same_floor() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user; the other tests ran as an ordinary one")
    for wrapper in ("", denying("unshare")):
        answer = under(sandbox._FORBIDDEN_ACTS, wrapper, user=NOBODY)
        assert answer["outcome"] == "passed", answer
        assert "+uid" not in str(answer["isolation"])
    assert under(SURVIVOR_AND_BOMB, denying("unshare"), user=NOBODY)["outcome"] == "timeout"
    assert processes_with("nobodys") == []


@pytest.mark.parametrize("missing", ["landlock_create_ruleset", "seccomp"])
def test_without_the_floor_nothing_runs_and_the_reason_is_told(missing: str) -> None:
    wrapper = denying(444 if missing.startswith("landlock") else missing)  # type: ignore[arg-type]
    if missing == "seccomp":
        wrapper = wrapper.replace(
            "f.load()", "f.add_rule(s.ERRNO(22), 'prctl', s.Arg(0, s.EQ, 22))\nf.load()"
        )
    answer = under("open('ran', 'w')", wrapper)
    assert answer.get("refused"), answer


def test_a_refusal_reaches_the_caller_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_SECCOMP_FOLDER", str(tmp_path))
    with pytest.raises(SandboxUnavailableError):
        run("pass")
    assert sandbox.probe().available is False
