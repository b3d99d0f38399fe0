"""The one storage seam: a URL is a local path or an object store's, in pods too.

A *generation* is a folder that holds what one materialization made: files, a record beside each
finished file, and a manifest written last. No manifest = not done. A file with a record is never
made again, so a kill costs at most the file in progress. Nothing half-written is ever visible:
locally a sibling is renamed into place; on an object store a put is atomic, and the manifest's
refuses to replace another (If-None-Match).
"""

import hashlib
import io
import json
import os
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import TypeAdapter

MANIFEST = "manifest.json"
_BEGUN = "begun.json"
_RECORDS = "records"


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A finished file of a generation. `facts` are small and JSON: counts, thresholds met."""

    name: str
    num_bytes: int
    sha256: str
    num_rows: int | None = None  # None: not a table
    num_tokens: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Input:
    """What a generation was made from: another one, by address and content."""

    asset: str
    partition: str
    generation: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What a generation is being made from; it names half-done work, which has no manifest."""

    recipe: str
    numbers: Any  # the whole recipe, beside the part of it that is read
    code_version: str
    settings: Any
    inputs: list[Input]
    started: float  # seconds since the epoch


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a generation is. `digest` names the content: equal files, equal digest."""

    asset: str
    partition: str
    generation: str
    code_version: str
    recipe: str
    settings: Any  # the part of the recipe that was read
    inputs: list[Input]
    files: list[FileRecord]
    facts: dict[str, Any]
    digest: str
    finished: float | None = None  # seconds since the epoch
    seconds: float | None = None  # of the work; None: it was resumed, so nobody knows

    def num_rows(self, table: str) -> int:
        return sum(record.num_rows or 0 for record in self.tables(table))

    def num_tokens(self, table: str) -> int:
        return sum(record.num_tokens or 0 for record in self.tables(table))

    def tables(self, table: str) -> list[FileRecord]:
        return [record for record in self.files if record.name.startswith(f"{table}-")]


_RECORD = TypeAdapter(FileRecord)
_MANIFEST = TypeAdapter(Manifest)
_BEGUN_NOTE = TypeAdapter(Begun)


def join(url: str, *names: str) -> str:
    return posixpath.join(url, *names)


def file_system(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL and the path on it; listings are never cached."""
    options = {} if "://" not in url else {"use_listings_cache": False}
    system, path = fsspec.core.url_to_fs(url, **options)
    return system, path


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """What a store's client raises of its own, without credentials or an answer, as an OSError."""
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
    """Write a file so that a reader sees all of it or none.

    With `exclusive`, an existing file is not replaced: FileExistsError.
    """
    system, path = file_system(url)
    if not isinstance(system, LocalFileSystem):
        system.pipe_file(path, content, mode="create" if exclusive else "overwrite")
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, sibling = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(sibling).chmod(0o644)
        if exclusive:
            os.link(sibling, target)
        else:
            Path(sibling).replace(target)
    finally:
        Path(sibling).unlink(missing_ok=True)


def names(url: str) -> list[str]:
    """The sorted names of the files and folders directly in a folder; none if it is missing."""
    system, path = file_system(url)
    if not system.isdir(path):
        return []
    found = (posixpath.basename(entry.rstrip("/")) for entry in system.ls(path, detail=False))
    return sorted(name for name in found if name and not name.startswith("."))


def modified(url: str) -> float:
    """When a file was last written, in seconds since the epoch."""
    system, path = file_system(url)
    return float(system.modified(path).timestamp())


def remove(url: str) -> None:
    """Delete a file or a folder, if it is there."""
    system, path = file_system(url)
    if system.exists(path):
        system.rm(path, recursive=True)


def _record_url(folder: str, name: str) -> str:
    return join(folder, _RECORDS, f"{name.replace('/', '%')}.json")


def record(folder: str, name: str) -> FileRecord | None:
    """The record of a finished file, or None: then the file must be made."""
    url = _record_url(folder, name)
    return _RECORD.validate_json(get(url)) if exists(url) else None


def put_file(folder: str, name: str, content: bytes, **known: Any) -> FileRecord:
    """Add a file and then its record; `known` are further fields of FileRecord."""
    entry = FileRecord(
        name=name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), **known
    )
    put(join(folder, name), content)
    put(_record_url(folder, name), _RECORD.dump_json(entry))
    return entry


def table_name(table: str, index: int) -> str:
    return f"{table}-{index:05d}.parquet"


def put_table(
    folder: str,
    table: str,
    index: int,
    rows: pa.Table | Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    *,
    facts: Mapping[str, Any] | None = None,
    compression: str | None = "zstd",
) -> FileRecord:
    """Add shard `index` of a table; it holds exactly `schema`, or pyarrow's error says what not.

    Memory: twice the shard. `num_tokens` of the record is the sum of that column, if there.
    `compression` None is for values in which there is nothing to find.
    """
    made = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    made = made.select(schema.names).cast(schema)
    buffer = io.BytesIO()
    pq.write_table(
        made, buffer, compression=compression, compression_level=1 if compression else None,
        row_group_size=4096, use_dictionary=compression is not None,
    )  # fmt: skip
    num_tokens = None
    if "num_tokens" in schema.names:
        num_tokens = sum(value or 0 for value in made["num_tokens"].to_pylist())
    return put_file(
        folder,
        table_name(table, index),
        buffer.getvalue(),
        num_rows=made.num_rows,
        num_tokens=num_tokens,
        facts=dict(facts or {}),
    )


def put_folder(folder: str, local: Path, *, prefix: str = "") -> list[FileRecord]:
    """Add every file of a local folder, a model's say, under `prefix`."""
    paths = sorted(path for path in local.rglob("*") if path.is_file())
    return [
        put_file(folder, join(prefix, path.relative_to(local).as_posix()), path.read_bytes())
        for path in paths
    ]


def fetch_folder(folder: str, local: Path, *, prefix: str = "") -> Path:
    """A finished generation's files as a local folder: itself if local, else copied to `local`."""
    system, path = file_system(join(folder, prefix) if prefix else folder)
    if isinstance(system, LocalFileSystem):
        return Path(path)
    for entry in manifest(folder).files:
        if entry.name.startswith(prefix):
            target = local / posixpath.relpath(entry.name, prefix or ".")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(get(join(folder, entry.name)))
    return local


def records(folder: str) -> list[FileRecord]:
    """The records of all files finished so far."""
    found = names(join(folder, _RECORDS))
    return [_RECORD.validate_json(get(join(folder, _RECORDS, name))) for name in found]


def content_digest(files: Iterable[FileRecord]) -> str:
    lines = sorted(f"{entry.name} {entry.sha256}\n" for entry in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def finish(
    folder: str,
    *,
    asset: str,
    partition: str,
    generation: str,
    code_version: str,
    recipe: str,
    settings: Any,
    inputs: list[Input],
    facts: dict[str, Any],
    finished: float | None = None,
    seconds: float | None = None,
) -> Manifest:
    """Write the manifest: from now on the generation is there, and never changes.

    If another writer finished it first with the same content, that manifest stands;
    with another content, ValueError.
    """
    files = sorted(records(folder), key=lambda entry: entry.name)
    made = Manifest(
        asset=asset, partition=partition, generation=generation, code_version=code_version,
        recipe=recipe, settings=settings, inputs=inputs, files=files, facts=facts,
        digest=content_digest(files), finished=finished, seconds=seconds,
    )  # fmt: skip
    content = json.dumps(asdict(made), indent=1, sort_keys=True, default=str).encode()
    try:
        put(join(folder, MANIFEST), content, exclusive=True)
    except FileExistsError:
        other = manifest(folder)
        if other.digest != made.digest:
            raise ValueError(
                f"{folder} was finished with digest {other.digest}, and this run made "
                f"{made.digest}: the work is not deterministic, or two versions of the code ran"
            ) from None
        return other
    return made


def begin(folder: str, note: Begun) -> None:
    """Note what the folder will be made from, before its first file."""
    put(join(folder, _BEGUN), _BEGUN_NOTE.dump_json(note))


def begun(folder: str) -> Begun | None:
    """What a folder's first writer noted; None if nobody did."""
    url = join(folder, _BEGUN)
    return _BEGUN_NOTE.validate_json(get(url)) if exists(url) else None


def is_finished(folder: str) -> bool:
    return exists(join(folder, MANIFEST))


def manifest(folder: str) -> Manifest:
    if not is_finished(folder):
        raise FileNotFoundError(
            f"{folder} has no manifest: its writer did not finish; materialize it again"
        )
    return _MANIFEST.validate_json(get(join(folder, MANIFEST)))


def input_folders(folder: str, asset: str) -> list[str]:
    """The generations of `asset` that a finished generation was made from, as URLs.

    A generation's URL ends in asset/partition/generation, so a lake can move as a whole.
    """
    lake = folder.rstrip("/").rsplit("/", 3)[0]
    return [
        join(lake, made.asset, made.partition, made.generation)
        for made in manifest(folder).inputs
        if made.asset == asset
    ]


def _open(url: str) -> pq.ParquetFile:
    # A whole shard in memory: Arrow's reader threads over a Python file can outlive the
    # interpreter and abort it.
    return pq.ParquetFile(pa.BufferReader(get(url)))


def batches(
    folder: str, table: str, *, columns: Sequence[str] | None = None, rows: int = 1024
) -> Iterator[pa.RecordBatch]:
    """Stream a table of a finished generation in shard order. Memory: one shard's file."""
    for entry in manifest(folder).tables(table):
        yield from _open(join(folder, entry.name)).iter_batches(batch_size=rows, columns=columns)


def read(folder: str, table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table of a finished generation; for tables without text."""
    entries = manifest(folder).tables(table)
    if not entries:
        raise ValueError(f"{folder} has no table {table!r}")
    return pa.concat_tables(read_shard(folder, entry.name, columns=columns) for entry in entries)


def columns(folder: str, name: str) -> list[str]:
    """The columns of a finished shard."""
    return list(_open(join(folder, name)).schema_arrow.names)


def read_shard(folder: str, name: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One finished shard by its name, also of a generation that is still being made."""
    # Threads of its own cost Arrow as much again, most of it in fresh memory for each.
    return _open(join(folder, name)).read(columns=columns, use_threads=False)
