"""Files of artifacts, written with a record and compared with it when they are read."""

import hashlib
import posixpath
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from fsspec.implementations.local import LocalFileSystem

from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.column_ranges import ChangedBytesError
from snow_assets.storage.file_records import FileRecord
from snow_assets.storage.manifests import (
    DAMAGED,
    Manifest,
    is_finished,
    manifest,
    put_record,
    read_manifest,
    record,
    records,
    remedy,
)
from snow_assets.storage.object_store import file_system, get, join, put

T = TypeVar("T")

_MAX_CACHED_ARTIFACTS = 256


def put_file(folder: str, name: str, content: bytes, **fields: Any) -> FileRecord:
    """Add a file and then its record; `fields` are further ones of FileRecord."""
    entry = FileRecord(
        name=name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), **fields
    )
    put(join(folder, name), content)
    put_record(folder, entry)
    return entry


def get_file(folder: str, name: str, entry: FileRecord | None = None) -> bytes:
    """A file of an artifact, finished or not, compared with its record. Memory: the file.

    FileNotFoundError or DamagedFileError name the file and what to materialize again. `entry` as
    of `checked`.
    """

    def read(entry: FileRecord) -> bytes:
        content = get(join(folder, name))
        _compare(hashlib.sha256(content).hexdigest(), entry)
        return content

    return checked(folder, name, read, entry)


def _compare(sha256: str, entry: FileRecord) -> None:
    if sha256 != entry.sha256:
        reason = f"its SHA-256 is {sha256[:12]}, and {entry.sha256[:12]} was written"
        raise ChangedBytesError(reason)


def checked(
    folder: str, name: str, read: Callable[[FileRecord], T], entry: FileRecord | None = None
) -> T:
    """Read a file by its record, which a later writer may have replaced meanwhile.

    DamagedFileError, and a damage mark, if its bytes differ from the present record. `entry` is the
    record if the caller has read it: the first attempt does not read it again.
    """
    changed = None
    while True:
        entry = entry or _recorded(folder, name)
        try:
            return read(entry)
        except FileNotFoundError:
            raise FileNotFoundError(f"{join(folder, name)} is missing: {remedy(folder)}") from None
        except ChangedBytesError as error:
            if entry == changed:
                mark_damaged(folder, name)
                raise DamagedFileError(join(folder, name), str(error), remedy(folder)) from None
        changed, entry = entry, None
        _listed_records.cache_clear()  # the artifact may have been made again


def _recorded(folder: str, name: str) -> FileRecord:
    # In an artifact that is not finished, a file has a record and no manifest.
    entry = _record_in_manifest(folder, name) or record(folder, name)
    if entry is None:
        _listed_records.cache_clear()  # the artifact may have been made again
        entry = _record_in_manifest(folder, name)
    if entry is None:
        raise DamagedFileError(join(folder, name), "it has no record", remedy(folder))
    return entry


def _record_in_manifest(folder: str, name: str) -> FileRecord | None:
    try:
        current, entries = _listed_records(folder)
    except FileNotFoundError:
        return None  # not finished
    if name in entries or current.file_table is None:
        return entries.get(name)
    with suppress(DamagedFileError):
        if entry := record(folder, name):  # rather than the records of all files
            return entry
    return next((entry for entry in manifest(folder).files if entry.name == name), None)


@lru_cache(maxsize=_MAX_CACHED_ARTIFACTS)
def _listed_records(folder: str) -> tuple[Manifest, dict[str, FileRecord]]:
    """A manifest, which never changes, and the records that it lists itself, by file name."""
    current = read_manifest(folder)
    return current, {entry.name: entry for entry in [*current.files, *current.metadata_files]}


def mark_damaged(folder: str, name: str) -> None:
    """Note that a file is damaged, so that materializing the asset again makes it again."""
    with suppress(OSError):  # a reader without write access still raises
        put(join(folder, DAMAGED, name.replace("/", "%")), b"")


def put_folder(folder: str, local: Path, *, prefix: str = "") -> list[FileRecord]:
    """Add every file of a local folder, a model's say, under `prefix`."""
    paths = sorted(path for path in local.rglob("*") if path.is_file())
    return [
        put_file(folder, join(prefix, path.relative_to(local).as_posix()), path.read_bytes())
        for path in paths
    ]


def fetch_folder(folder: str, local: Path, *, prefix: str = "") -> Path:
    """An artifact's files as a local folder: itself if local, else copied to `local`.

    Every file is compared with its record first. Memory: a file of an object store; 1 MiB if local.
    """
    system, path = file_system(join(folder, prefix) if prefix else folder)
    entries = manifest(folder).files if is_finished(folder) else records(folder)
    for entry in entries:
        if not entry.name.startswith(prefix):
            continue
        if isinstance(system, LocalFileSystem):
            _check_file(folder, entry.name)
            continue
        target = local / posixpath.relpath(entry.name, prefix or ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(get_file(folder, entry.name))
    return Path(path) if isinstance(system, LocalFileSystem) else local


def _check_file(folder: str, name: str) -> None:
    """DamagedFileError if a file's SHA-256 is not its record's. Memory: 1 MiB."""
    url = join(folder, name)
    checked(folder, name, lambda entry: _compare(file_sha256(url, remedy(folder)), entry))


def file_sha256(url: str, what_to_do: str) -> str:
    """Of a file's bytes, in pieces of 1 MiB; FileNotFoundError with the remedy."""
    system, path = file_system(url)
    digest = hashlib.sha256()
    try:
        with system.open(path, "rb") as file:
            while content := file.read(2**20):
                digest.update(content)
    except FileNotFoundError:
        raise FileNotFoundError(f"{url} is missing: {what_to_do}") from None
    return digest.hexdigest()
