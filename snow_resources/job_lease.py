"""The lease of a local job: one process of this machine works on an output at a time.

A lease is a lock on a file, held by the run and inherited by the job's process, so it lasts as long
as either lives: also after `kill -9` of the run alone. Whoever comes next waits for a run that
lives, ends what a killed one left, and removes its temporary folder. Linux only (/proc).
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
"""In a job's environment: its lease's key, by which what it leaves is recognised; and the process
that started it, at whose end `snow_assets/pod.py` has the job stop."""

GRACE_SECONDS = 120.0  # after SIGTERM: long enough to write a checkpoint
_POLL_SECONDS = 0.2
_SAY_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a run holds while its job works."""

    key: str
    descriptor: int  # for the job's process to inherit
    temporary_dir: Path  # of this job; removed with the lease, or by the next start

    def environment(self) -> dict[str, str]:
        """What the job's process needs in its environment."""
        return {
            LEASE_VARIABLE: self.key,
            PARENT_VARIABLE: str(os.getpid()),
            "TMPDIR": str(self.temporary_dir),
        }


@contextmanager
def held(url: str, *, run: str, say: Say) -> Iterator[Lease]:
    """Hold the lease of the job at `url`; `say` is told what this waits for.

    Raises PermissionError where another user owns the folder of leases.
    """
    key, folder = hashlib.sha256(url.encode()).hexdigest()[:16], leases_dir()
    path = folder / f"{key}.lock"
    descriptor = _lock(path, key, say)
    try:
        os.ftruncate(descriptor, 0)
        owner = {"pid": os.getpid(), "start": _start_time(os.getpid()), "run": run}
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        end_processes(key, say)
        remove_leftovers(folder)
        temporary_dir = folder / key
        shutil.rmtree(temporary_dir, ignore_errors=True)
        _make_dir(temporary_dir)
        try:
            yield Lease(key=key, descriptor=descriptor, temporary_dir=temporary_dir)
        finally:
            end_processes(key, say)
            shutil.rmtree(temporary_dir, ignore_errors=True)
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def leases_dir() -> Path:
    """This user's folder of leases. Others may walk through it: sandboxed programs do."""
    folder = Path(tempfile.gettempdir()) / f"snow-jobs-{os.getuid()}"
    try:
        _make_dir(folder)
    except FileExistsError:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            message = f"{folder} belongs to another user: remove it, or set TMPDIR"
            raise PermissionError(message) from None
    return folder


def _make_dir(path: Path) -> None:
    """A folder that others may walk through, whatever the umask says, and nothing more."""
    path.mkdir()
    path.chmod(0o711)


def _lock(path: Path, key: str, say: Say) -> int:
    """The locked file; a file that its last holder removed meanwhile does not count."""
    said_at = -_SAY_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH110, PTH116
                return descriptor
        except BlockingIOError:
            owner = _owner(descriptor)
            if owner is None:
                end_processes(key, say)
            elif time.monotonic() - said_at >= _SAY_SECONDS:
                said_at = time.monotonic()
                say(f"the same job runs for {owner}: waiting until it has ended")
        os.close(descriptor)
        time.sleep(_POLL_SECONDS)


def _owner(descriptor: int) -> str | None:
    """The run that holds a lease, for people; None if its process has ended."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return "a run that has just begun"
    if _start_time(owner["pid"]) != owner["start"]:
        return None
    return f"run {owner['run']} (process {owner['pid']})"


def _start_time(pid: int) -> str:
    """When a process began, in the kernel's ticks: with the number it names a process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def job_processes(key: str) -> dict[int, int]:
    """The living processes of a job, with their parents: it and what it started."""
    mark, processes = f"{LEASE_VARIABLE}={key}".encode(), {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (path / "environ").read_bytes().split(b"\0"):
                continue
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has ended, or belongs to another user
        processes[int(path.name)] = int(parent)
    processes.pop(os.getpid(), None)
    return processes


def end_processes(key: str, say: Say) -> None:
    """End what is left of a job: SIGTERM to its first processes, SIGKILL to all after the grace."""
    processes = job_processes(key)
    if not processes:
        return
    numbers = ", ".join(map(str, sorted(processes)))
    say(f"ending what is left of an earlier attempt at this job: process {numbers}")
    for pid, parent in processes.items():
        if parent not in processes:
            _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while job_processes(key):
        if time.monotonic() > deadline:
            for pid in job_processes(key):
                _signal(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended


def remove_leftovers(folder: Path) -> None:
    """Remove temporary folders whose lease nobody holds: their jobs were killed."""
    for path in folder.glob("*.lock"):
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            continue  # held, this run's own too: flock tells two descriptors of one file apart
        finally:
            os.close(descriptor)
