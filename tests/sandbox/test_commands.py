"""Programs of other languages: compiled and run by commands, which reach no more than they need."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snow_assets.runtime import sandbox
from snow_assets.runtime.sandbox import Commands, Limits
from tests.sandbox.programs import AN_ORDINARY_USER, ROOT, UNSHARE, named, needs_floor, under
from tests.sandbox.test_programs import wait_until

pytestmark = needs_floor

LIMITS = Limits(seconds=60.0, memory_bytes=4 << 30, threads=64)
SHELL = Commands(
    file_name="program.sh", commands=(("/bin/bash", "program.sh"),), marker="the tests ended"
)
USERS = [None, AN_ORDINARY_USER] if os.geteuid() == 0 else [None]


@pytest.fixture(params=[(), (UNSHARE,)], ids=["namespaces", "floor"])
def denied(request: pytest.FixtureRequest) -> tuple[tuple[str, list[list[int]]], ...]:
    denials: tuple[tuple[str, list[list[int]]], ...] = request.param
    return denials


def run(program: str, limits: Limits = LIMITS) -> sandbox.ExecutionResult:
    execution = sandbox.Execution(program=program, limits=limits, commands=SHELL)
    (result,) = sandbox.run_all([execution], num_cpus=1)
    return result


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("echo the tests ended", "passed"),
        ("exit 0", "failed"),  # it ended before its tests did
        ("echo the tests ended; exit 1", "failed"),
        ("echo the tests ended; kill -SEGV $$; exec false", "failed"),
        ("[[ $(echo b a | tr ' ' '\\n' | sort | head -1) = a ]] && echo the tests ended", "passed"),
        ("sleep 600", "timeout"),
    ],
)
def test_a_program_passes_by_its_exit_status_and_its_marker(program: str, outcome: str) -> None:
    result = run(program, Limits(seconds=60.0 if outcome != "timeout" else 1.0))
    assert result.outcome == outcome
    assert "the tests ended" not in result.message


@pytest.mark.parametrize("user", USERS)
def test_what_it_must_not_reach_is_refused(
    denied: tuple[tuple[str, list[list[int]]], ...], user: int | None, tmp_path: Path
) -> None:
    refused = (
        f"cat /etc/hostname; ls /; ls /proc; ls /tmp; ls {tmp_path}; touch /tmp/left; "
        "touch /usr/left; ln -s /etc/hostname host && cat host; chmod 777 program.sh; "
        "touch program.sh; kill -0 $PPID; setsid true; unshare true"
    )
    names = "HOME LANG OPENSSL_CONF PATH PWD SHLVL TMPDIR _"
    program = f"""
        for command in {" ".join(f"'{command}'" for command in refused.split("; "))}; do
            bash -c "$command" > /dev/null 2> /dev/null && echo "not refused: $command"
        done
        (exec 3<> /dev/tcp/127.0.0.1/9) 2>&1 | grep -q "not permitted" || echo "a socket"
        [[ $(env | cut -d = -f 1 | sort | paste -s -d " ") = "{names}" ]] || env
        echo the tests ended
    """
    result = under(program, *denied, user=user, limits=LIMITS, commands=SHELL)
    assert (result["outcome"], result["message"].strip()) == ("passed", "")


def test_its_processes_end_with_it(denied: tuple[tuple[str, list[list[int]]], ...]) -> None:
    program = """
        (exec -a snow_left_over sleep 600 > /dev/null 2> /dev/null &)
        echo the tests ended
    """
    assert under(program, *denied, limits=LIMITS, commands=SHELL)["outcome"] == "passed"
    assert [name for name in named("sleep") if _command_line(name) == "snow_left_over"] == []


STARTER = """
import sys; sys.path[:0] = {paths!r}
import pyseccomp
if {is_floor}:
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.add_rule(pyseccomp.ERRNO(1), "unshare")
    rules.load()
from snow_assets.runtime.sandbox import Commands, Execution, Limits, run_all
shell = Commands(file_name="program.sh", commands=(("/bin/bash", "program.sh"),), marker="")
limits = Limits(seconds=600.0)
run_all([Execution(program={program!r}, limits=limits, commands=shell)], num_cpus=1)
"""


@pytest.mark.parametrize("is_floor", [False, True], ids=["namespaces", "floor"])
@pytest.mark.parametrize("killed", ["supervisor", "starter"])
def test_its_processes_end_with_a_supervisor_or_starter_that_is_killed(
    is_floor: bool, killed: str
) -> None:
    name = f"orphan-{os.getpid()}"
    program = f"ln -s /bin/sleep {name}; (./{name} 600 &); ./{name} 600"
    script = STARTER.format(paths=[str(ROOT), *sys.path], program=program, is_floor=is_floor)
    starter = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(named(name)) == 2)
        children = subprocess.run(
            ["pgrep", "-P", str(starter.pid)], capture_output=True, text=True, check=True
        )
        (supervisor,) = children.stdout.split()
        os.kill(int(supervisor) if killed == "supervisor" else starter.pid, signal.SIGKILL)
        wait_until(lambda: named(name) == [])
    finally:
        starter.kill()
        starter.wait()


def _command_line(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended


def test_processes_that_ended_do_not_count_toward_the_limit(
    denied: tuple[tuple[str, list[list[int]]], ...],
) -> None:
    program = "for i in $(seq 1 100); do (true &); done; echo the tests ended"
    assert under(program, *denied, limits=LIMITS, commands=SHELL)["outcome"] == "passed"


def test_a_bomb_of_processes_is_limited() -> None:
    limits = Limits(seconds=3.0, threads=16)
    assert run("bomb() { bomb | bomb & }; bomb; sleep 600", limits).outcome == "timeout"
    assert run("echo the tests ended").outcome == "passed"


def test_a_full_folder_ends_it() -> None:
    limits = Limits(seconds=60.0, folder_bytes=1 << 20)
    for program in ("> file", "| split -b 100000"):  # one file, and many
        result = run(f"head -c 2000000 /dev/urandom {program} && echo the tests ended", limits)
        assert result.outcome in ("folder", "failed")
