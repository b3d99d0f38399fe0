"""Artifacts in the lake: files, a record beside each finished file, and a manifest written last.

An *artifact* is a folder that holds what one materialization made. No manifest = not done. A file
with a record is never made again, so a kill costs at most the file in progress.

Every byte that is read through this module is compared with the file's record: a whole file by its
SHA-256, columns of a table by digests of the footer and of each column (see `column_ranges`), and
only their byte ranges are read. DamagedFileError names the file and what to materialize again.
What DuckDB and other programs read by themselves, `make verify` compares.
"""

import hashlib
import io
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import ConfigDict, TypeAdapter, ValidationError

from snow_assets.storage import checked_json
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.column_ranges import ChangedBytesError, RangeDigests, open_columns
from snow_assets.storage.column_ranges import range_digests as digest_ranges
from snow_assets.storage.file_records import FileRecord, FileRecords
from snow_assets.storage.object_store import (
    exists,
    file_system,
    get,
    get_all,
    join,
    modified,
    names,
    put,
    remove,
    store_errors,
)

__all__ = [
    "DAMAGED",
    "MANIFEST",
    "RECORDS",
    "DamagedFileError",
    "FileRecord",
    "FileRecords",
    "InProgress",
    "Input",
    "Manifest",
    "batches",
    "columns",
    "content_digest",
    "exists",
    "fetch_folder",
    "file_sha256",
    "file_system",
    "finish",
    "get",
    "get_file",
    "in_progress",
    "input_folders",
    "is_finished",
    "iterate_records",
    "join",
    "manifest",
    "mark_damaged",
    "mark_in_progress",
    "modified",
    "names",
    "put",
    "put_file",
    "put_folder",
    "put_table",
    "read",
    "read_shard",
    "read_unfinished",
    "record",
    "record_name",
    "records",
    "remedy",
    "remove",
    "sound_manifest",
    "store_errors",
    "table_name",
]

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


T = TypeVar("T")

_MAX_CACHED_ARTIFACTS = 256
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
    known_keys = [entry.name for entry in fields(kind)]
    content = get(url) if content is None else content
    value = checked_json.load(url, content, known_keys=known_keys, remedy=remedy(folder))
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


def put_file(folder: str, name: str, content: bytes, **fields: Any) -> FileRecord:
    """Add a file and then its record; `fields` are further ones of FileRecord."""
    entry = FileRecord(
        name=name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), **fields
    )
    put(join(folder, name), content)
    put(join(folder, record_name(name)), _dump(entry))
    return entry


def get_file(folder: str, name: str) -> bytes:
    """A file of an artifact, finished or not, compared with its record. Memory: the file.

    FileNotFoundError or DamagedFileError name the file and what to materialize again.
    """

    def read(entry: FileRecord) -> bytes:
        content = get(join(folder, name))
        _compare(hashlib.sha256(content).hexdigest(), entry)
        return content

    return _checked(folder, name, read)


def _compare(sha256: str, entry: FileRecord) -> None:
    if sha256 != entry.sha256:
        reason = f"its SHA-256 is {sha256[:12]}, and {entry.sha256[:12]} was written"
        raise ChangedBytesError(reason)


def _checked(folder: str, name: str, read: Callable[[FileRecord], T]) -> T:
    """Read a file by its record, which a later writer may have replaced meanwhile.

    DamagedFileError, and a damage mark, if its bytes differ from the present record.
    """
    changed = None
    while True:
        entry = _recorded(folder, name)
        try:
            return read(entry)
        except FileNotFoundError:
            raise FileNotFoundError(f"{join(folder, name)} is missing: {remedy(folder)}") from None
        except ChangedBytesError as error:
            if entry == changed:
                mark_damaged(folder, name)
                raise DamagedFileError(join(folder, name), str(error), remedy(folder)) from None
        changed = entry
        _listed_records.cache_clear()  # the artifact may have been made again


def _recorded(folder: str, name: str) -> FileRecord:
    entry = _record_in_manifest(folder, name)
    if entry is None:
        _listed_records.cache_clear()  # the artifact may have been made again
        entry = _record_in_manifest(folder, name)
    if entry is None:
        entry = record(folder, name)
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
    current = _read_manifest(folder)
    return current, {entry.name: entry for entry in [*current.files, *current.metadata_files]}


def mark_damaged(folder: str, name: str) -> None:
    """Note that a file is damaged, so that materializing the asset again makes it again."""
    with suppress(OSError):  # a reader without write access still raises
        put(join(folder, DAMAGED, name.replace("/", "%")), b"")


def table_name(table: str, index: int) -> str:
    return f"{table}-{index:05d}.parquet"


def put_table(
    folder: str,
    table: str,
    index: int,
    rows: pa.Table | Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    *,
    stats: Mapping[str, Any] | None = None,
    compression: str | None = "zstd",
) -> FileRecord:
    """Add shard `index` of a table; it holds exactly `schema`, or pyarrow's error says what not.

    Memory: twice the shard. `num_tokens` of the record is the sum of that column, if there.
    `compression` None is for values in which there is nothing to find.
    """
    data = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    data = data.select(schema.names).cast(schema)
    buffer = io.BytesIO()
    pq.write_table(
        data,
        buffer,
        compression=compression,
        compression_level=1 if compression else None,
        row_group_size=4096,
        use_dictionary=compression is not None,
    )
    num_tokens = None
    if "num_tokens" in schema.names:
        num_tokens = pc.sum(data["num_tokens"]).as_py() or 0
    ranges = digest_ranges(buffer.getbuffer())
    return put_file(
        folder,
        table_name(table, index),
        buffer.getvalue(),
        num_rows=data.num_rows,
        num_tokens=num_tokens,
        footer_bytes=ranges.footer_bytes,
        range_digests=ranges.digests,
        stats=dict(stats or {}),
    )


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
    _checked(folder, name, lambda entry: _compare(file_sha256(url, remedy(folder)), entry))


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
        _compare(hashlib.sha256(content).hexdigest(), entry)
    except FileNotFoundError:
        raise DamagedFileError(url, "it is missing", remedy(folder)) from None
    except ChangedBytesError as error:
        raise DamagedFileError(url, str(error), remedy(folder)) from None
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
    current = _read_manifest(folder)
    if current.file_table is None:
        return current
    return replace(current, files=_get_file_table(folder, current.file_table))


def _read_manifest(folder: str) -> Manifest:
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


def _open(folder: str, name: str, columns: Sequence[str] | None) -> pq.ParquetFile:
    """A shard of which these columns are in memory; None: all."""

    def read(entry: FileRecord) -> pq.ParquetFile:
        if entry.footer_bytes is None or entry.range_digests is None:
            return pq.ParquetFile(pa.BufferReader(get_file(folder, name)))
        expected = RangeDigests(
            num_bytes=entry.num_bytes,
            footer_bytes=entry.footer_bytes,
            digests=entry.range_digests,
        )
        return open_columns(join(folder, name), expected, columns or ())

    if columns is None:
        return pq.ParquetFile(pa.BufferReader(get_file(folder, name)))
    return _checked(folder, name, read)


def batches(
    folder: str, table: str, *, columns: Sequence[str] | None = None, rows: int = 1024
) -> Iterator[pa.RecordBatch]:
    """Stream a table of a finished artifact in shard order.

    Memory: one shard's file, or its columns in the file.
    """
    for entry in manifest(folder).tables(table):
        yield from _open(folder, entry.name, columns).iter_batches(batch_size=rows, columns=columns)


def read(folder: str, table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table of a finished artifact; for tables without text."""
    entries = manifest(folder).tables(table)
    if not entries:
        raise ValueError(f"{folder} has no table {table!r}")
    return pa.concat_tables(read_shard(folder, entry.name, columns=columns) for entry in entries)


def read_unfinished(folder: str, table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The shards so far of a table of an artifact that may have no manifest yet.

    FileNotFoundError if there is none.
    """
    entries = records(folder, table)
    if not entries:
        raise FileNotFoundError(
            f"{folder} has no {table}: if a job reported it, the folder was emptied since; remove "
            "the job's folder, too, and materialize again"
        )
    return pa.concat_tables(read_shard(folder, entry.name, columns=columns) for entry in entries)


def columns(folder: str, name: str) -> list[str]:
    """The columns of a finished shard."""
    return list(_open(folder, name, ()).schema_arrow.names)


def read_shard(folder: str, name: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One finished shard by its name, also of an artifact that is still being made.

    Of a column no other byte than its chunks and the footer is read.
    """
    # Threads of its own cost Arrow as much again, most of it in fresh memory for each.
    return _open(folder, name, columns).read(columns=columns, use_threads=False)
