"""Error message for a full disk: which disk, free and needed space, and the remedy."""

import errno
import shutil
from pathlib import Path

_MESSAGES = ("no space left on device", "disk is full", "disk full", "disk quota exceeded")
_ERRORS = {errno.ENOSPC, errno.EDQUOT}


def is_disk_full(error: BaseException | str) -> bool:
    """Whether an error, or an error's text, means that a disk or a quota is full."""
    if isinstance(error, OSError) and error.errno in _ERRORS:
        return True
    text = str(error).lower()
    return any(message in text for message in _MESSAGES)


def full_disk_message(folder: Path, needed_bytes: float | None) -> str:
    """Message with the full disk, its free space, the needed space and the remedy."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    needed = "an unknown amount" if needed_bytes is None else f"about {_megabytes(needed_bytes)}"
    return (
        f"The disk of {existing} is full: {_megabytes(usage.free)} of {_megabytes(usage.total)} "
        f"are free, and the steps that are left write {needed} (make plan shows each). Finished "
        "work is kept: free some space and run the command again, it goes on from there."
    )


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
