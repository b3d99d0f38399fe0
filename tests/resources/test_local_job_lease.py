"""Local jobs whose run is killed: nothing works twice on one output, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snow_resources import local_job_lease
from snow_resources.local_job_lease import hold_lease, job_processes, leases_dir
from tests.resources.echo_job import Echo, is_alive
from tests.resources.test_gpu_jobs import launch

ROOT = Path(__file__).parents[2]

RUN = """
import sys
from pathlib import Path
from tests.resources.echo_job import Echo
from tests.resources.test_gpu_jobs import launch
launch(Path(sys.argv[1]), Echo(word="hello", behaviour=sys.argv[2], marker=sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of this test's own, and no patience with deaf processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(local_job_lease, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(local_job_lease, "_LOG_SECONDS", 0.5)
    return folder


def a_request(tmp_path: Path, behaviour: str) -> Echo:
    return Echo(word="hello", behaviour=behaviour, marker=str(tmp_path / "starts"))


def start_run(tmp_path: Path, request: Echo) -> subprocess.Popen[bytes]:
    """A run in a process of its own, whose job has begun."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path), request.behaviour, request.marker],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: Path(request.marker).with_suffix(".processes").exists(), run)
    return run


def wait_until(is_true: Callable[[], bool], run: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 300
    while not is_true():
        assert run is None or run.poll() is None, "the run ended"
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def processes_of(request: Echo) -> list[str]:
    return Path(request.marker).with_suffix(".processes").read_text().split()


@pytest.mark.parametrize("behaviour", ["linger", "linger deaf", "linger with child"])
def test_the_run_after_one_that_was_killed_starts_when_nothing_of_it_lives(
    tmp_path: Path, temporary: Path, behaviour: str
) -> None:
    request = a_request(tmp_path, behaviour)
    killed = start_run(tmp_path, request)
    assert list(temporary.glob("snow-jobs-*/*/left-behind-*"))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    answer = launch(tmp_path, request)
    assert (answer["starts"], answer["attempt"]) == (2, 2)
    assert Path(request.marker).read_text().splitlines() == ["started", "started", "alive: []"]
    assert list(temporary.glob("snow-jobs-*/*")) == []


def test_a_second_run_of_the_same_job_waits_for_the_first_and_takes_its_report(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    request = a_request(tmp_path, "linger briefly")
    first = start_run(tmp_path, request)
    answer = launch(tmp_path, request)
    assert first.wait() == 0
    assert (answer["starts"], answer["attempt"]) == (1, 1)
    assert Path(request.marker).read_text() == "started\n"
    waiting = "the same job runs for run "
    assert waiting in "".join(capfd.readouterr())


def test_a_job_stops_with_its_run_and_the_next_start_of_any_job_removes_its_folder(
    tmp_path: Path, temporary: Path
) -> None:
    request = a_request(tmp_path, "linger")
    killed = start_run(tmp_path, request)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (process,) = processes_of(request)
    wait_until(lambda: not is_alive(process))
    assert list(temporary.glob("snow-jobs-*/*/left-behind-*"))
    launch(tmp_path, Echo(word="another", marker=str(tmp_path / "starts-of-another")))
    assert list(temporary.glob("snow-jobs-*/*")) == []


def test_a_held_lease_s_folder_is_left_alone_by_other_jobs() -> None:
    lines: list[str] = []
    with hold_lease("/a", run="1", log=lines.append) as first:
        (first.temporary_dir / "mine").write_text("x")
        with hold_lease("/b", run="2", log=lines.append) as second:
            assert first.temporary_dir != second.temporary_dir
            assert (first.temporary_dir / "mine").read_text() == "x"
    assert lines == []
    assert list(leases_dir().iterdir()) == []


def test_a_lease_is_held_by_one_process_at_a_time_through_many_turns(tmp_path: Path) -> None:
    """Four processes add 1 to a number ten times each, and lose nothing."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    turn = (
        "import sys\nfrom pathlib import Path\n"
        "from snow_resources.local_job_lease import hold_lease\n"
        "import snow_resources.local_job_lease as module\nmodule._POLL_SECONDS = 0.001\n"
        "counter = Path(sys.argv[1])\n"
        "for _ in range(10):\n"
        "    with hold_lease('/same', run='x', log=lambda line: None):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", turn, str(counter)], cwd=ROOT) for _ in range(4)
    ]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "40"


def test_others_may_walk_through_a_lease_s_folder_whatever_the_umask_says() -> None:
    """A sandboxed program works below it, as a user that owns nothing else."""
    before = os.umask(0o077)
    try:
        with hold_lease("/a", run="1", log=print) as lease:
            modes = [path.stat().st_mode & 0o777 for path in (leases_dir(), lease.temporary_dir)]
    finally:
        os.umask(before)
    assert modes == [0o711, 0o711]


def test_a_folder_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leases_dir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a folder away")
    os.chown(leases_dir(), 65533, 65533)
    with pytest.raises(PermissionError, match="belongs to another user"):
        leases_dir()


def test_a_process_is_known_by_its_lease_s_key_alone(tmp_path: Path) -> None:
    environment = {local_job_lease.LEASE_VARIABLE: "some-key"}
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    process = subprocess.Popen(sleep, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert list(job_processes("some-key")) == [process.pid]
    assert job_processes("some") == {}
    process.kill()
    process.wait()
    assert job_processes("some-key") == {}
