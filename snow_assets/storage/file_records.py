"""Records of an artifact's files, many of them as columns."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_RECORDS = 4096


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A finished file of an artifact. `stats` are small and JSON: counts, thresholds met."""

    name: str
    num_bytes: int
    sha256: str
    num_rows: int | None = None  # None: not a table
    num_tokens: int | None = None
    footer_bytes: int | None = None  # of a table's file; None: written before it had digests
    range_digests: str | None = None  # of its footer and columns, see `column_ranges`
    stats: dict[str, Any] = field(default_factory=dict)


_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("num_bytes", pa.int64()),
        ("sha256", pa.binary(32)),
        ("num_rows", pa.int64()),
        ("num_tokens", pa.int64()),
        ("footer_bytes", pa.int64()),
        ("range_digests", pa.binary()),
        ("stats", pa.string()),
    ]
)


class FileRecords(Sequence[FileRecord]):
    """Records ordered by table and shard index, held as columns that are decoded when used.

    Memory: about 250 bytes a record.
    """

    def __init__(self, column: Callable[[str], pa.Array], rows: npt.NDArray[np.int64]) -> None:
        self._column, self._rows = column, rows

    @classmethod
    def of(cls, entries: Iterable[FileRecord]) -> "FileRecords":
        batches = [
            pa.RecordBatch.from_pylist([_row(entry) for entry in part], schema=_SCHEMA)
            for part in _batched(entries)
        ]
        table = pa.Table.from_batches(batches, schema=_SCHEMA)
        names = table["name"].to_pylist()
        keys = [_order(name) for name in names]
        if any(key > following for key, following in pairwise(keys)):
            order = sorted(range(len(names)), key=keys.__getitem__)
            table = table.take(pa.array(order, pa.int64()))
        columns = {name: _flat(table[name]) for name in _SCHEMA.names}
        return cls(columns.__getitem__, np.arange(len(names)))

    @classmethod
    def from_parquet(cls, content: bytes) -> "FileRecords":
        """Of what `to_parquet` wrote."""
        file = pq.ParquetFile(pa.BufferReader(content))

        @cache
        def column(name: str) -> pa.Array:
            return _flat(file.read(columns=[name], use_threads=False)[name])

        return cls(column, np.arange(file.metadata.num_rows))

    def to_parquet(self) -> bytes:
        buffer = io.BytesIO()
        table = pa.table([self.column(name) for name in _SCHEMA.names], schema=_SCHEMA)
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    def column(self, name: str) -> pa.Array:
        """A field of all records; digests are binary, `stats` is JSON."""
        column = self._column(name)
        is_whole = np.array_equal(self._rows, np.arange(len(column)))
        return column if is_whole else column.take(pa.array(self._rows))

    def total(self, name: str) -> int:
        """The sum of a field."""
        import pyarrow.compute as pc

        return pc.sum(self.column(name)).as_py() or 0

    def of_table(self, table: str) -> "FileRecords":
        """The records of a table's shards, in the order of their indices."""
        import pyarrow.compute as pc

        is_of_table = pc.starts_with(self.column("name"), f"{table}-").to_numpy(
            zero_copy_only=False
        )
        return FileRecords(self._column, self._rows[np.asarray(is_of_table, dtype=np.bool_)])

    def digests(self) -> Iterator[tuple[str, str]]:
        """Name and SHA-256 of each file."""
        for name, digest in zip(self.column("name"), self.column("sha256"), strict=True):
            yield name.as_py(), digest.as_py().hex()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[FileRecord]:
        columns = [self.column(name) for name in _SCHEMA.names]
        for start in range(0, len(self), _BATCH_RECORDS):
            parts = [column.slice(start, _BATCH_RECORDS).to_pylist() for column in columns]
            for values in zip(*parts, strict=True):
                yield _entry(dict(zip(_SCHEMA.names, values, strict=True)))

    @overload
    def __getitem__(self, index: int) -> FileRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "FileRecords": ...
    def __getitem__(self, index: int | slice) -> "FileRecord | FileRecords":
        if isinstance(index, slice):
            return FileRecords(self._column, self._rows[index])
        [entry] = FileRecords(self._column, self._rows[[index]])
        return entry

    def __eq__(self, records: object) -> bool:
        return isinstance(records, Sequence) and list(self) == list(records)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FileRecords({len(self)})"


def _row(entry: FileRecord) -> dict[str, Any]:
    digests = entry.range_digests
    return {
        **vars(entry),
        "sha256": bytes.fromhex(entry.sha256),
        "range_digests": None if digests is None else bytes.fromhex(digests),
        "stats": json.dumps(entry.stats),
    }


def _entry(row: dict[str, Any]) -> FileRecord:
    digests = row["range_digests"]
    return FileRecord(
        **{
            **row,
            "sha256": row["sha256"].hex(),
            "range_digests": None if digests is None else digests.hex(),
            "stats": json.loads(row["stats"]),
        }
    )


def _order(name: str) -> tuple[str, int, str]:
    """Table, index and name: an index may have more than its five digits."""
    stem, _, suffix = name.rpartition("-")
    index = suffix.split(".")[0]
    return (stem, int(index), name) if index.isdecimal() else (name, 0, name)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _batched(entries: Iterable[FileRecord]) -> Iterator[list[FileRecord]]:
    part: list[FileRecord] = []
    for entry in entries:
        part.append(entry)
        if len(part) == _BATCH_RECORDS:
            yield part
            part = []
    if part:
        yield part
