"""Files by URL: local paths and object stores.

Writes are atomic: locally a temporary file is renamed; on an object store a put is atomic, and an
exclusive put does not replace an existing object (If-None-Match).
"""

import errno
import os
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

_FILES_AT_ONCE = 1_000
_PAGE_OBJECTS = 1_000  # the most that S3 lists at once


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


def get_all(folder: str, file_names: Sequence[str]) -> Iterator[bytes | None]:
    """Small files of a folder, in order; None where there is none.

    An object store is asked for many at a time. Memory: `_FILES_AT_ONCE` files.
    """
    system, path = file_system(folder)
    paths = [join(path, name) for name in file_names]
    if isinstance(system, LocalFileSystem):
        yield from map(_read_local, paths)
        return
    for start in range(0, len(paths), _FILES_AT_ONCE):
        part = paths[start : start + _FILES_AT_ONCE]
        # With a range the size is not asked for first; an empty object has none.
        contents = system.cat_ranges(part, 0, None, on_error="return")
        for file_path, content in zip(part, contents, strict=True):
            if isinstance(content, FileNotFoundError):
                yield None
            else:
                is_refused = isinstance(content, Exception)
                yield bytes(system.cat_file(file_path) if is_refused else content)


def _read_local(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def put(url: str, content: bytes, *, exclusive: bool = False) -> None:
    """Write a file atomically.

    With `exclusive`, an existing file is not replaced: FileExistsError.
    """
    system, path = file_system(url)
    if not isinstance(system, LocalFileSystem):
        try:
            system.pipe_file(path, content, mode="create" if exclusive else "overwrite")
        except OSError as error:
            # A server that refuses If-None-Match need not name the condition, as AWS does: then
            # s3fs reports an invalid argument.
            if exclusive and error.errno == errno.EINVAL and exists(url):
                raise FileExistsError(errno.EEXIST, "it exists", url) from error
            raise
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


def names(url: str, prefix: str = "") -> list[str]:
    """The sorted names with a prefix of the files and folders directly in a folder; none if it is
    missing. Memory: the names, and a page of an object store's listing."""
    system, path = file_system(url)
    if _is_s3(system):
        listed = (key.rstrip("/") for key, _ in _list_objects(system, path, prefix, delimiter="/"))
    elif system.isdir(path):
        entries = system.ls(path, detail=False)
        listed = (posixpath.basename(entry.rstrip("/")) for entry in entries)
    else:
        return []
    return sorted(
        name for name in listed if name and name.startswith(prefix) and not name.startswith(".")
    )


def _is_s3(system: fsspec.AbstractFileSystem) -> bool:
    """Whether it is of s3fs, whose import takes half a second."""
    return "s3" in system.protocol


def _list_objects(
    system: fsspec.AbstractFileSystem, path: str, prefix: str, *, delimiter: str
) -> Iterator[tuple[str, int]]:
    """Key and size of each object below a path whose key there begins with a prefix, page by page,
    rather than all entries of a listing at once, about a kilobyte each, as the client does."""
    bucket, key, _ = system.split_path(path)
    root = f"{key.rstrip('/')}/" if key else ""
    options = {"Bucket": bucket, "Prefix": f"{root}{prefix}", "Delimiter": delimiter}
    while True:
        try:
            page = system.call_s3("list_objects_v2", MaxKeys=_PAGE_OBJECTS, **options)
        except FileNotFoundError:  # no such bucket
            return
        for entry in page.get("Contents", ()):
            yield entry["Key"].removeprefix(root), int(entry["Size"])
        for entry in page.get("CommonPrefixes", ()):
            yield entry["Prefix"].removeprefix(root), 0
        if not page.get("IsTruncated"):
            return
        options["ContinuationToken"] = page["NextContinuationToken"]


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
    if _is_s3(system):
        return dict(_list_objects(system, path, "", delimiter=""))
    if not system.isdir(path):
        return {}
    entries = system.find(path, detail=True)
    root = path.rstrip("/") + "/"
    return {name.removeprefix(root): int(entry["size"]) for name, entry in entries.items()}
