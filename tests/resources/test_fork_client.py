"""Jobs forked from a process that has imported their module."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from snow_assets.home import CHECKOUT
from snow_resources.fork_client import ForkedProcess, ForkServer, _read_line, fork_server
from snow_resources.local_job_lease import Lease, hold_lease, job_processes
from tests.resources.echo_job import is_alive

MODULE = """
import os, sys, tempfile, time
from pathlib import Path

if __name__ != "__main__":
    print("imported", flush=True)

def preload():
    print("preloaded", flush=True)

if __name__ == "__main__":
    from snow_assets.runtime.worker import end_with_parent

    end_with_parent()
    action, folder = sys.argv[1:]
    print(action, os.getppid(), os.environ.get("COLOUR"), tempfile.gettempdir(), flush=True)
    if action == "wait":
        Path(folder, "began").touch()
        time.sleep(60)
    if action == "raise":
        raise RuntimeError("broken")
    if action == "refuse":
        sys.exit(42)
"""


class Jobs:
    """A lease, a log and a server for jobs of a module of this test."""

    def __init__(self, folder: Path, lease: Lease, log: IO[bytes]) -> None:
        self.folder, self.lease, self.log = folder, lease, log
        self.environment = {**os.environ, "PYTHONPATH": f"{folder}:{CHECKOUT}"}

    def server(self) -> ForkServer:
        return fork_server(sys.executable, self.environment)

    def start(self, action: str, **environment: str) -> ForkedProcess:
        return self.server().start(
            "colours",
            [action, str(self.folder)],
            environment={**self.lease.environment(), **environment},
            log=self.log,
            lease=self.lease,
        )

    def lines(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    (tmp_path / "colours.py").write_text(MODULE)
    with (
        hold_lease(str(tmp_path), run="1", log=print) as lease,
        (tmp_path / "log").open("ab") as log,
    ):
        jobs = Jobs(tmp_path, lease, log)
        yield jobs
        jobs.server().close()


def wait_until_begun(jobs: Jobs) -> None:
    deadline = time.monotonic() + 60
    while not (jobs.folder / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_module_is_imported_once_for_all_its_jobs(jobs: Jobs) -> None:
    assert jobs.start("first", COLOUR="red").wait() == 0
    assert jobs.start("second").wait() == 0
    imported, preloaded, first, preloaded_again, second = jobs.lines()
    assert (imported, preloaded, preloaded_again) == (["imported"], ["preloaded"], ["preloaded"])
    assert first[0::2] == ["first", "red"] and second[0::2] == ["second", "None"]
    assert first[1] == second[1]  # the parent
    assert first[3] == str(jobs.lease.temporary_dir)


def test_a_pid_and_an_exit_code_that_arrive_together_are_read_one_by_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"14362\n-9\n")
        assert [_read_line(ours), _read_line(ours)] == [b"14362\n", b"-9\n"]


def test_another_environment_is_another_server_and_the_first_one_ends(jobs: Jobs) -> None:
    assert jobs.start("first").wait() == 0
    first = jobs.server()
    jobs.environment["COLOUR"] = "green"
    assert jobs.start("second").wait() == 0
    assert not first.is_running
    (colours,) = {line[2] for line in jobs.lines() if line[0] == "second"}
    assert colours == "green"


@pytest.mark.parametrize(("action", "code"), [("refuse", 42), ("raise", 1)])
def test_a_job_s_exit_code_and_its_error_are_those_of_a_process(
    jobs: Jobs, action: str, code: int
) -> None:
    assert jobs.start(action).wait() == code
    assert (["RuntimeError:", "broken"] in jobs.lines()) == (action == "raise")


def test_a_module_that_cannot_be_imported_fails_in_the_job(jobs: Jobs) -> None:
    (jobs.folder / "colours.py").write_text("import no_such_module\n")
    assert jobs.start("first").wait() == 1
    assert ["ModuleNotFoundError:", "No", "module", "named", "'no_such_module'"] in jobs.lines()


def test_a_preload_that_fails_ends_the_job_and_not_the_server(jobs: Jobs) -> None:
    broken = MODULE.replace('print("preloaded", flush=True)', 'raise OSError("no such library")')
    (jobs.folder / "colours.py").write_text(broken)
    assert jobs.start("first").wait() == 1
    assert ["OSError:", "no", "such", "library"] in jobs.lines()
    assert not any(line[0] == "first" for line in jobs.lines())
    assert jobs.server().is_running


def test_jobs_run_beside_each_other_and_are_ended_one_by_one(jobs: Jobs) -> None:
    waiting = jobs.start("wait")
    assert jobs.start("second").wait() == 0
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=0.01)
    assert waiting.poll() is None
    assert job_processes(jobs.lease.key) == {waiting.pid: jobs.server().pid}
    waiting.terminate()
    assert waiting.wait() == -signal.SIGTERM
    assert job_processes(jobs.lease.key) == {}


def test_a_job_ends_with_its_server_and_the_next_one_has_a_new_server(jobs: Jobs) -> None:
    waiting = jobs.start("wait")
    wait_until_begun(jobs)
    os.kill(jobs.server().pid, signal.SIGKILL)
    assert waiting.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while is_alive(str(waiting.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert jobs.start("second").wait() == 0
