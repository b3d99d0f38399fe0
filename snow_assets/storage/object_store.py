"""Files by URL: local paths and object stores.

Writes are atomic: locally a temporary file is renamed; on an object store a put is atomic, and an
exclusive put does not replace an existing object (If-None-Match).
"""

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem


def join(url: str, *names: str) -> str:
    return posixpath.join(url, *names)


def file_system(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL and the path on it; listings are never cached."""
    options = {} if "://" not in url else {"use_listings_cache": False}
    system, path = fsspec.core.url_to_fs(url, **options)
    return system, path


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Convert errors of a store's client (no credentials, no response) to OSError."""
    if "://" not in url:
        yield
        return
    from botocore.exceptions import BotoCoreError  # with its store only

    try:
        yield
    except (OSError, BotoCoreError) as error:
        raise OSError(
            f"{url!r} cannot be read ({type(error).__name__}: {error}): correct the URL, or give "
            "the store's address and credentials"
        ) from error


def exists(url: str) -> bool:
    system, path = file_system(url)
    return bool(system.exists(path))


def get(url: str) -> bytes:
    system, path = file_system(url)
    return bytes(system.cat_file(path))


def put(url: str, content: bytes, *, exclusive: bool = False) -> None:
    """Write a file atomically.

    With `exclusive`, an existing file is not replaced: FileExistsError.
    """
    system, path = file_system(url)
    if not isinstance(system, LocalFileSystem):
        system.pipe_file(path, content, mode="create" if exclusive else "overwrite")
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        if exclusive:
            os.link(temporary, target)
        else:
            Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def names(url: str) -> list[str]:
    """The sorted names of the files and folders directly in a folder; none if it is missing."""
    system, path = file_system(url)
    if not system.isdir(path):
        return []
    basenames = (posixpath.basename(entry.rstrip("/")) for entry in system.ls(path, detail=False))
    return sorted(name for name in basenames if name and not name.startswith("."))


def modified(url: str) -> float:
    """A file's modification time, in seconds since the epoch."""
    system, path = file_system(url)
    return float(system.modified(path).timestamp())


def remove(url: str) -> None:
    """Delete a file or a folder, if it exists."""
    system, path = file_system(url)
    if system.exists(path):
        system.rm(path, recursive=True)


def sizes(url: str) -> dict[str, int]:
    """Sizes in bytes of all files below a folder, by relative path; a single listing."""
    system, path = file_system(url)
    if not system.isdir(path):
        return {}
    entries = system.find(path, detail=True)
    root = path.rstrip("/") + "/"
    return {name.removeprefix(root): int(entry["size"]) for name, entry in entries.items()}
