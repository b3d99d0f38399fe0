"""Records and manifests of artifacts.

An *artifact* is a folder that holds what one materialization made. No manifest = not done. A file
with a record is never made again, so a kill costs at most the file in progress.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from snow_assets.storage import checked_json
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.file_records import FileRecord, FileRecords
from snow_assets.storage.object_store import exists, get, get_all, join, names, put

MANIFEST = "manifest.json"
_IN_PROGRESS = "in_progress.json"
RECORDS = "records"
FILE_TABLES = "file_tables"
"""A folder in an artifact with more files than a manifest lists itself: their records as a table,
named by its SHA-256, so that two writers of an artifact do not replace each other's."""
DAMAGED = "damaged"
"""A folder in an artifact: a file for each one that a reader found to be damaged."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """What an artifact was made from: another one, by address and content."""

    asset: str
    partition: str
    fingerprint: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class InProgress:
    """In-progress marker: the inputs and config of an artifact that has no manifest yet."""

    recipe: str
    recipe_values: Any  # the whole recipe, beside the part of it that is read
    code_version: str
    config: Any
    inputs: list[Input]
    started: float  # seconds since the epoch


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that an artifact is. `digest` names the content: equal files, equal digest."""

    asset: str
    partition: str
    fingerprint: str
    code_version: str
    recipe: str
    config: Any  # the part of the recipe that was read
    inputs: list[Input]
    files: FileRecords
    stats: dict[str, Any]
    digest: str
    finished: float | None = None  # seconds since the epoch
    seconds: float | None = None  # of the work; None: unknown, it was resumed
    metadata_files: list[FileRecord] = field(default_factory=list)
    """What Dagster and MLflow show: plots, tables, metrics by step. They hold times and speeds, so
    they are not part of the digest."""

    file_table: FileRecord | None = None  # the file of `files`; None: in the manifest itself

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    def num_rows(self, table: str) -> int:
        return self.tables(table).total("num_rows")

    def num_tokens(self, table: str) -> int:
        return self.tables(table).total("num_tokens")

    def tables(self, table: str) -> FileRecords:
        """The records of a table's shards, in the order of their indices."""
        return self.files.of_table(table)


_MAX_LISTED_FILES = 1_000  # in a manifest itself
_LISTED_FILES = TypeAdapter(list[FileRecord])
_ADAPTERS = {kind: TypeAdapter(kind) for kind in (FileRecord, Manifest, InProgress)}


def remedy(folder: str) -> str:
    """What makes an artifact's files again: `materialize documents [stdlib] again`."""
    parts = folder.rstrip("/").rsplit("/", 3)
    if len(parts) < 4:
        return "materialize it again"
    return f"materialize {parts[1]}{'' if parts[2] == 'all' else f' [{parts[2]}]'} again"


def _load(folder: str, name: str, kind: type[Any], content: bytes | None = None) -> Any:
    """A JSON file of an artifact as a dataclass; DamagedFileError if it is not what was written."""
    url = join(folder, name)
    content = get(url) if content is None else content
    value = checked_json.load(url, content, remedy=remedy(folder))
    try:
        if kind is Manifest:
            value["files"] = FileRecords.of(_LISTED_FILES.validate_python(value.get("files")))
        return _ADAPTERS[kind].validate_python(value)
    except ValidationError as error:
        [first, *_] = error.errors()
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DamagedFileError(url, reason, remedy(folder)) from None


def _dump(value: FileRecord | Manifest | InProgress) -> bytes:
    """With a manifest's files unless they have a file of their own."""
    plain = _ADAPTERS[type(value)].dump_python(value, mode="json", fallback=str)
    if isinstance(value, Manifest):
        files = [] if value.file_table else list(value.files)
        plain["files"] = _LISTED_FILES.dump_python(files, mode="json", fallback=str)
        if value.file_table is None:
            del plain["file_table"]
    return checked_json.dump(plain)


def record_name(name: str) -> str:
    return join(RECORDS, f"{name.replace('/', '%')}.json")


def record(folder: str, name: str) -> FileRecord | None:
    """The record of a finished file, or None: then the file must be made."""
    try:
        content = get(join(folder, record_name(name)))
    except FileNotFoundError:
        return None
    loaded: FileRecord = _load(folder, record_name(name), FileRecord, content)
    return loaded


def finished_files(folder: str, file_names: Iterable[str]) -> set[str]:
    """Those of the names whose files have a record, which is not read: a single listing."""
    listed = set(names(join(folder, RECORDS)))
    return {name for name in file_names if posixpath.basename(record_name(name)) in listed}


def put_record(folder: str, entry: FileRecord) -> None:
    """Write the record of a file that is there."""
    put(join(folder, record_name(entry.name)), _dump(entry))


def records(folder: str, table: str | None = None) -> FileRecords:
    """The records of the files finished so far: of all, or of a table's shards."""

    def read() -> Iterator[FileRecord]:
        for entry in iterate_records(folder, "" if table is None else f"{table}-"):
            if isinstance(entry, DamagedFileError):
                raise entry
            yield entry

    return FileRecords.of(read())


def iterate_records(folder: str, prefix: str = "") -> Iterator[FileRecord | DamagedFileError]:
    """Each record of a file whose name begins so, or what is wrong with it; by file name.

    An object store is asked for many at a time. Memory: the names, and 1,000 records.
    """
    record_folder = join(folder, RECORDS)
    record_names = names(record_folder, prefix)
    contents = get_all(record_folder, record_names)
    for name, content in zip(record_names, contents, strict=True):
        if content is None:
            continue  # removed meanwhile
        try:
            entry: FileRecord = _load(folder, join(RECORDS, name), FileRecord, content)
        except DamagedFileError as error:
            yield error
        else:
            yield entry


def content_digest(files: FileRecords) -> str:
    lines = sorted(f"{name} {sha256}\n" for name, sha256 in files.digests())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def finish(
    folder: str,
    *,
    asset: str,
    partition: str,
    fingerprint: str,
    code_version: str,
    recipe: str,
    config: Any,
    inputs: list[Input],
    stats: dict[str, Any],
    finished: float | None = None,
    seconds: float | None = None,
    metadata_files: Sequence[FileRecord] = (),
) -> Manifest:
    """Write the manifest: from now on the artifact is there, and never changes.

    If another writer finished it first with the same content, that manifest stands;
    with another content, ValueError.
    """
    files = records(folder)
    file_table = _put_file_table(folder, files) if len(files) > _MAX_LISTED_FILES else None
    written = Manifest(
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version=code_version,
        recipe=recipe,
        config=config,
        inputs=inputs,
        files=files,
        stats=stats,
        digest=content_digest(files),
        finished=finished,
        seconds=seconds,
        metadata_files=list(metadata_files),
        file_table=file_table,
    )
    try:
        put(join(folder, MANIFEST), _dump(written), exclusive=True)
    except FileExistsError:
        existing = manifest(folder)
        if existing.digest != written.digest:
            raise ValueError(
                f"{folder} was finished with digest {existing.digest}, and this run made "
                f"{written.digest}: the work is not deterministic, or two versions of the code ran"
            ) from None
        return existing
    return written


def _put_file_table(folder: str, files: FileRecords) -> FileRecord:
    content = files.to_parquet()
    sha256 = hashlib.sha256(content).hexdigest()
    name = join(FILE_TABLES, f"{sha256}.parquet")
    put(join(folder, name), content)
    return FileRecord(name=name, num_bytes=len(content), sha256=sha256, num_rows=len(files))


def _get_file_table(folder: str, entry: FileRecord) -> FileRecords:
    url = join(folder, entry.name)
    try:
        content = get(url)
    except FileNotFoundError:
        raise DamagedFileError(url, "it is missing", remedy(folder)) from None
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != entry.sha256:
        reason = f"its SHA-256 is {sha256[:12]}, and {entry.sha256[:12]} was written"
        raise DamagedFileError(url, reason, remedy(folder))
    return FileRecords.from_parquet(content)


def mark_in_progress(folder: str, marker: InProgress) -> None:
    """Write the in-progress marker, before the first file."""
    put(join(folder, _IN_PROGRESS), _dump(marker))


def in_progress(folder: str) -> InProgress | None:
    """The in-progress marker of a folder; None if it has none."""
    return _load(folder, _IN_PROGRESS, InProgress) if exists(join(folder, _IN_PROGRESS)) else None


def is_finished(folder: str) -> bool:
    return exists(join(folder, MANIFEST))


def manifest(folder: str) -> Manifest:
    """What a finished artifact is; FileNotFoundError if it is not finished, DamagedFileError if
    the manifest, or the table of its files, is not what was written.

    Memory: about 250 bytes a file, once its record is used.
    """
    current = read_manifest(folder)
    if current.file_table is None:
        return current
    return replace(current, files=_get_file_table(folder, current.file_table))


def read_manifest(folder: str) -> Manifest:
    """A manifest with the files that it lists itself."""
    try:
        content = get(join(folder, MANIFEST))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder} has no manifest: its writer did not finish; materialize it again"
        ) from None
    loaded: Manifest = _load(folder, MANIFEST, Manifest, content)
    return loaded


def sound_manifest(folder: str) -> Manifest | None:
    """The manifest of an older artifact that work may profit from; None if it is not finished, or
    if it or one of its files is known to be damaged."""
    if not is_finished(folder) or names(join(folder, DAMAGED)):
        return None
    try:
        return manifest(folder)
    except DamagedFileError:
        return None


def input_folders(folder: str, asset: str) -> list[str]:
    """The artifacts of `asset` that a finished artifact was made from, as URLs.

    An artifact's URL ends in asset/partition/fingerprint, so a lake can move as a whole.
    """
    lake = folder.rstrip("/").rsplit("/", 3)[0]
    return [
        join(lake, read.asset, read.partition, read.fingerprint)
        for read in manifest(folder).inputs
        if read.asset == asset
    ]
