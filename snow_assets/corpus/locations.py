"""Files of a source's locations: a file, or all files of a folder, local or in an object store."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from snow_assets.corpus.untrusted import StorageError, is_printable, printable
from snow_assets.storage import shards

# Keys of an object store's listing whose value changes when an object's bytes change.
_VERSION_KEYS = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a source as listed; `refusal` is a reason and evidence if it must not be opened."""

    url: str
    num_bytes: int
    version: str  # size, and modification time or ETag: detects an edit without reading
    refusal: tuple[str, str] | None = None


def list_files(locations: Sequence[str], suffixes: tuple[str, ...]) -> list[StoredFile]:
    """List every file with one of the suffixes, in name order.

    Raises ValueError, with the remedy, for a location without files, and OSError for a store that
    cannot be read.
    """
    files: list[StoredFile] = []
    for location in locations:
        listed = [file for file in _list_location(location) if file.url.lower().endswith(suffixes)]
        if not listed:
            raise ValueError(
                f"the source location {location!r} has no file ending in {', '.join(suffixes)}: "
                f"correct the recipe's location or kind"
            )
        files += listed
    return files


def snapshot(locations: Sequence[str], suffixes: tuple[str, ...]) -> dict[str, str]:
    """The version of every file of the locations."""
    return {printable(file.url): file.version for file in list_files(locations, suffixes)}


class StoredBytes:
    """An open file whose read errors are StorageErrors."""

    def __init__(self, url: str, file: IO[bytes]) -> None:
        self._url, self._file = url, file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.close = file.close

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _storage_errors(self._url):
            return self._file.read(size)


@contextmanager
def open_stored(url: str) -> Iterator[StoredBytes]:
    """Open a listed file for reading."""
    with _storage_errors(url):
        file = fsspec.open(url, "rb").open()
    with file:
        yield StoredBytes(url, file)


@contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{url} cannot be read ({type(error).__name__}: {error}); its files are not refused "
            "for that: materialize again when the storage is available"
        ) from error


def _list_location(location: str) -> list[StoredFile]:
    if "://" not in location:
        return _local(location)
    system, path = shards.file_system(location)
    with shards.store_errors(location):
        if not system.exists(path):
            raise _missing(location)
        inner = system.find(path, detail=True) if system.isdir(path) else {path: system.info(path)}
    return [_remote(system.unstrip_protocol(name), info) for name, info in sorted(inner.items())]


def _remote(url: str, info: Mapping[str, Any]) -> StoredFile:
    num_bytes = int(info["size"])
    marks = [str(info[key]).strip('"') for key in _VERSION_KEYS if info.get(key) is not None]
    version = " ".join([str(num_bytes), *marks[:1]])
    return StoredFile(url=url, num_bytes=num_bytes, version=version)


def _local(location: str) -> list[StoredFile]:
    """List the files of a local folder; links are followed."""
    path = Path(location)
    if not path.exists():
        raise _missing(location)
    if not path.is_dir():
        return [_local_file(location)]
    names = (str(Path(folder) / name) for folder, _, inner in os.walk(path) for name in inner)
    return [_local_file(name) for name in sorted(names)]


def _local_file(url: str) -> StoredFile:
    refusal = None
    try:
        status = Path(url).stat()
        num_bytes, version = status.st_size, f"{status.st_size} {status.st_mtime_ns}"
        if not stat.S_ISREG(status.st_mode):
            refusal = ("not_a_file", "a folder, pipe, socket or device")
    except OSError as error:  # a dangling link
        num_bytes, version = 0, type(error).__name__
        refusal = ("not_a_file", f"cannot be opened: {error.strerror}")
    if not is_printable(url):
        refusal = ("unsafe_name", "the name is no printable UTF-8")
    return StoredFile(url=url, num_bytes=num_bytes, version=version, refusal=refusal)


def _missing(location: str) -> ValueError:
    return ValueError(f"the source location {location!r} is not there: correct the recipe")
