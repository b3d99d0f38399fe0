"""Mutual exclusion of processes by a lock on a file."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(lock: Path, *, waiting: str, warn: Callable[[str], object]) -> Iterator[None]:
    """Hold a file's lock; if another process holds it, call `warn` with `waiting` and the holder,
    then wait.

    The kernel releases the lock when its holder ends, also by a kill. Not for network file systems
    without locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            warn(f"{waiting} (held by {file.read().strip() or 'a process that just began'})")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        yield
