"""Tables of artifacts in shards; and, by their names, the artifacts' files, records and manifests.

Every byte that is read through this module is compared with the file's record: a whole file by its
SHA-256, columns of a table by digests of the footer and of each column (see `column_ranges`), and
only their byte ranges are read. DamagedFileError names the file and what to materialize again.
What DuckDB and other programs read by themselves, `make verify` compares.
"""

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.storage.artifact_files import (
    checked,
    fetch_folder,
    file_sha256,
    get_file,
    mark_damaged,
    put_file,
    put_folder,
)
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.column_ranges import RangeDigests, open_columns
from snow_assets.storage.column_ranges import range_digests as digest_ranges
from snow_assets.storage.file_records import FileRecord, FileRecords
from snow_assets.storage.manifests import (
    DAMAGED,
    FILE_TABLES,
    MANIFEST,
    RECORDS,
    InProgress,
    Input,
    Manifest,
    content_digest,
    finish,
    finished_files,
    in_progress,
    input_folders,
    is_finished,
    iterate_records,
    manifest,
    mark_in_progress,
    record,
    record_name,
    records,
    remedy,
    sound_manifest,
)
from snow_assets.storage.object_store import (
    exists,
    file_system,
    get,
    join,
    modified,
    names,
    put,
    remove,
    store_errors,
)

__all__ = [
    "DAMAGED",
    "FILE_TABLES",
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
    "finished_files",
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
    "read_shards",
    "read_unfinished",
    "record",
    "record_name",
    "records",
    "remedy",
    "remove",
    "shard_index",
    "sound_manifest",
    "store_errors",
    "table_name",
]

_SHARDS_AT_ONCE = 8  # of an object store


def table_name(table: str, index: int) -> str:
    return f"{table}-{index:05d}.parquet"


def shard_index(name: str) -> int:
    """The index in what `table_name` returned."""
    return int(name.rpartition("-")[2].removesuffix(".parquet"))


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
        import pyarrow.compute as pc

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


def _open(
    folder: str, name: str, columns: Sequence[str] | None, entry: FileRecord | None = None
) -> pq.ParquetFile:
    """A shard of which these columns are in memory; None: all. `entry` as of `checked`."""

    def read(entry: FileRecord) -> pq.ParquetFile:
        if entry.footer_bytes is None or entry.range_digests is None:
            return pq.ParquetFile(pa.BufferReader(get_file(folder, name, entry)))
        expected = RangeDigests(
            num_bytes=entry.num_bytes,
            footer_bytes=entry.footer_bytes,
            digests=entry.range_digests,
        )
        return open_columns(join(folder, name), expected, columns or ())

    if columns is None:
        return pq.ParquetFile(pa.BufferReader(get_file(folder, name, entry)))
    return checked(folder, name, read, entry)


def batches(
    folder: str, table: str, *, columns: Sequence[str] | None = None, rows: int = 1024
) -> Iterator[pa.RecordBatch]:
    """Stream a table of a finished artifact in shard order.

    Memory: one shard's file, or its columns in the file.
    """
    for entry in manifest(folder).tables(table):
        file = _open(folder, entry.name, columns, entry)
        yield from file.iter_batches(batch_size=rows, columns=columns)


def read(folder: str, table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table of a finished artifact; for tables without text."""
    entries = manifest(folder).tables(table)
    if not entries:
        raise ValueError(f"{folder} has no table {table!r}")
    return pa.concat_tables(read_shards(folder, entries, columns=columns))


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
    return pa.concat_tables(read_shards(folder, entries, columns=columns))


def read_shards(
    folder: str, entries: FileRecords, *, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Shards one after another; of an object store several are read at a time. Memory: these."""

    def read(entry: FileRecord) -> pa.Table:
        return _read_columns(_open(folder, entry.name, columns, entry), columns)

    if "://" not in folder:
        yield from map(read, entries)
        return
    remaining = iter(entries)
    with ThreadPoolExecutor(_SHARDS_AT_ONCE) as pool:
        while part := list(itertools.islice(remaining, _SHARDS_AT_ONCE)):
            yield from pool.map(read, part)


def columns(folder: str, name: str) -> list[str]:
    """The columns of a finished shard."""
    return list(_open(folder, name, ()).schema_arrow.names)


def read_shard(folder: str, name: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One finished shard by its name, also of an artifact that is still being made.

    Of a column no other byte than its chunks and the footer is read.
    """
    return _read_columns(_open(folder, name, columns), columns)


def _read_columns(file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    # Threads of its own cost Arrow as much again, most of it in fresh memory for each.
    return file.read(columns=columns, use_threads=False)
