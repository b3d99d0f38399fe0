"""Lease of a local job: at most one process of this machine works on an output at a time.

A lease is a lock on a file, held by the run and inherited by the job's process, so it lasts as long
as either lives: also after `kill -9` of the run alone. The next holder waits for a live run, ends
the processes of a killed one, and removes its temporary folder. Linux only (/proc).
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LEASE_VARIABLE, PARENT_VARIABLE = "SNOW_JOB_LEASE", "SNOW_JOB_PARENT"
"""In a job's environment: its lease's key, which identifies its processes; and the pid of the
process that started it, at whose end `snow_assets/runtime/worker.py` stops the job."""

GRACE_SECONDS = 120.0  # after SIGTERM: long enough to write a checkpoint
_POLL_SECONDS = 0.2
_LOG_SECONDS = 60.0

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A held lease of a run on a job."""

    key: str
    descriptor: int  # of the lock file; the job's process inherits it
    temporary_dir: Path  # of this job; removed with the lease, or by the next holder

    def environment(self) -> dict[str, str]:
        """Environment variables of the job's process."""
        return {
            LEASE_VARIABLE: self.key,
            PARENT_VARIABLE: str(os.getpid()),
            "TMPDIR": str(self.temporary_dir),
        }


@contextmanager
def hold_lease(url: str, *, run: str, log: Log) -> Iterator[Lease]:
    """Hold the lease of the job at `url`; `log` receives what the call waits for.

    Raises PermissionError where another user owns the folder of leases.
    """
    key, folder = hashlib.sha256(url.encode()).hexdigest()[:16], leases_dir()
    path = folder / f"{key}.lock"
    descriptor = _lock(path, key, log)
    try:
        os.ftruncate(descriptor, 0)
        owner = {"pid": os.getpid(), "start": _start_time(os.getpid()), "run": run}
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        end_processes(key, log)
        remove_leftovers(folder)
        temporary_dir = folder / key
        shutil.rmtree(temporary_dir, ignore_errors=True)
        _make_dir(temporary_dir)
        try:
            yield Lease(key=key, descriptor=descriptor, temporary_dir=temporary_dir)
        finally:
            end_processes(key, log)
            shutil.rmtree(temporary_dir, ignore_errors=True)
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def leases_dir() -> Path:
    """This user's folder of leases; mode 0711, since sandboxed programs traverse it."""
    folder = Path(tempfile.gettempdir()) / f"snow-jobs-{os.getuid()}"
    try:
        _make_dir(folder)
    except FileExistsError:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            message = f"{folder} belongs to another user: remove it, or set TMPDIR"
            raise PermissionError(message) from None
    return folder


def _make_dir(path: Path) -> None:
    """Make a folder with mode 0711 independent of the umask."""
    path.mkdir()
    path.chmod(0o711)


def _lock(path: Path, key: str, log: Log) -> int:
    """Open and lock the file; one that its last holder removed meanwhile is opened again."""
    logged_at = -_LOG_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH110, PTH116
                return descriptor
        except BlockingIOError:
            owner = _owner(descriptor)
            if owner is None:
                end_processes(key, log)
            elif time.monotonic() - logged_at >= _LOG_SECONDS:
                logged_at = time.monotonic()
                log(f"the same job runs for {owner}: waiting until it has ended")
        os.close(descriptor)
        time.sleep(_POLL_SECONDS)


def _owner(descriptor: int) -> str | None:
    """The run that holds a lease, for log lines; None if its process has ended."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return "a run that has just begun"
    if _start_time(owner["pid"]) != owner["start"]:
        return None
    return f"run {owner['run']} (process {owner['pid']})"


def _start_time(pid: int) -> str:
    """A process's start time in clock ticks: with the pid it identifies a process uniquely."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def process_name(key: str) -> str:
    """The name of a forked process of a job, which does not have the environment of its own in
    /proc."""
    return key[:15]


def job_processes(key: str) -> dict[int, int]:
    """Live processes of a job and their descendants: pid -> parent's pid."""
    mark, processes = f"{LEASE_VARIABLE}={key}".encode(), {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_forked = (path / "comm").read_text().strip() == process_name(key)
            if not is_forked and mark not in (path / "environ").read_bytes().split(b"\0"):
                continue
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has ended, or belongs to another user
        processes[int(path.name)] = int(parent)
    processes.pop(os.getpid(), None)
    return processes


def end_processes(key: str, log: Log) -> None:
    """End a job's processes: SIGTERM to the topmost, SIGKILL to all after the grace period."""
    processes = job_processes(key)
    if not processes:
        return
    pids = ", ".join(map(str, sorted(processes)))
    log(f"ending what is left of an earlier attempt at this job: process {pids}")
    for pid, parent in processes.items():
        if parent not in processes:
            _send_signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while job_processes(key):
        if time.monotonic() > deadline:
            for pid in job_processes(key):
                _send_signal(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _send_signal(pid: int, signal_number: signal.Signals) -> None:
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return  # it has ended


def remove_leftovers(folder: Path) -> None:
    """Remove temporary folders without a held lease: their jobs were killed."""
    for path in folder.glob("*.lock"):
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            continue  # held, also by this run: flock distinguishes two descriptors of one file
        finally:
            os.close(descriptor)
