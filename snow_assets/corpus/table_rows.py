"""Rows of untrusted Parquet and JSONL files; unreadable rows become refusals.

A damaged line, row or row group is refused alone. Errors of the storage are StorageErrors.
"""

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.corpus.locations import StoredBytes, StoredFile, open_stored
from snow_assets.corpus.source_units import Refusal
from snow_assets.corpus.untrusted import (
    ParserFailure,
    iterate_untrusted,
    parse_untrusted,
    printable,
)

_ROWS = 64  # decoded at a time; a row of The Stack v3 is a whole repository
_BUFFER_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class RowLimits:
    """A line is at most `max_row_bytes`; a compressed table unpacks to at most `max_bytes`, or to
    `max_ratio` times its size, whichever is more."""

    max_row_bytes: int
    max_bytes: int
    max_ratio: float


@dataclass(frozen=True)
class Row:
    """A row's columns and its position, for refusals: the table, and `line 3` or `row 2`."""

    table: str
    position: str
    columns: Mapping[str, Any]

    def refused(self, reason: str, evidence: str, *, suffix: str = "") -> Refusal:
        return _refusal(self.table, self.position + suffix, reason, evidence)


def rows(
    file: StoredFile, limits: RowLimits, *, left_out: Sequence[str] = ()
) -> Iterator[Row | Refusal]:
    """Yield every row of a table or its refusal; `left_out`: Parquet columns not to decode."""
    if file.refusal:
        yield _refusal(file.url, "", *file.refusal)
        return
    with open_stored(file.url) as opened:
        if file.url.lower().endswith(".parquet"):
            yield from _parquet_rows(file.url, opened, left_out)
        else:
            yield from _json_rows(file, opened, limits)


def _json_rows(file: StoredFile, opened: StoredBytes, limits: RowLimits) -> Iterator[Row | Refusal]:
    """A row per line; blank lines and a byte order mark are skipped."""
    total = number = 0
    max_total_bytes = max(limits.max_bytes, limits.max_ratio * file.num_bytes)
    with _decompress(file.url, opened) as stream:
        for line in iterate_untrusted(_lines(stream, limits.max_row_bytes)):
            if isinstance(line, ParserFailure):
                evidence = f"after line {number}: {line.evidence}"
                yield _refusal(file.url, f"after line {number}", "table_broken", evidence)
                return
            number += 1
            total += line.num_bytes
            if total > max_total_bytes and file.url.lower().endswith(".gz"):
                evidence = f"unpacks to over {max_total_bytes:.0f} bytes"
                yield _refusal(file.url, f"from line {number}", "table_bomb", evidence)
                return
            content = line.content.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line.content
            position = f"line {number}"
            if line.num_bytes > limits.max_row_bytes:
                evidence = f"{line.num_bytes} bytes, at most {limits.max_row_bytes}"
                yield _refusal(file.url, position, "row_too_large", evidence)
            elif content.strip():
                yield _json_row(file.url, position, content)


def _json_row(url: str, position: str, content: bytes) -> Row | Refusal:
    columns = parse_untrusted(partial(json.loads, content))
    if isinstance(columns, ParserFailure):
        return _refusal(url, position, "unreadable_row", columns.evidence)
    if not isinstance(columns, dict):
        evidence = f"is {type(columns).__name__}, not an object"
        return _refusal(url, position, "unreadable_row", evidence)
    return Row(url, position, columns)


@dataclass(frozen=True)
class _Line:
    content: bytes  # the beginning, where a line is too long
    num_bytes: int


def _lines(stream: io.BufferedIOBase, max_bytes: int) -> Iterator[_Line]:
    r"""Yield lines that end with \n; of a line that is too long, only the beginning is kept."""
    while content := stream.readline(max_bytes + 1):
        num_bytes, chunk = len(content), content
        while num_bytes > max_bytes and chunk and not chunk.endswith(b"\n"):
            chunk = stream.readline(_BUFFER_BYTES)
            num_bytes += len(chunk)
        yield _Line(content, num_bytes)


def _decompress(url: str, opened: StoredBytes) -> io.BufferedIOBase:
    if url.lower().endswith(".gz"):
        return gzip.GzipFile(fileobj=cast(Any, opened), mode="rb")
    return io.BufferedReader(_Raw(opened), _BUFFER_BYTES)


class _Raw(io.RawIOBase):
    """Adapter of stored bytes for io.BufferedReader."""

    def __init__(self, opened: StoredBytes) -> None:
        super().__init__()
        self._opened = opened

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._opened.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _parquet_rows(
    url: str, opened: StoredBytes, left_out: Sequence[str]
) -> Iterator[Row | Refusal]:
    """Yield rows by row group; a damaged row group is refused from where its damage begins."""
    file = parse_untrusted(partial(pq.ParquetFile, cast(Any, opened)))
    if isinstance(file, ParserFailure):
        yield _refusal(url, "", "table_broken", file.evidence)
        return
    columns = parse_untrusted(partial(_column_names, file, left_out))
    if isinstance(columns, ParserFailure):
        yield _refusal(url, "", "table_broken", columns.evidence)
        return
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        batches = file.iter_batches(
            batch_size=_ROWS, row_groups=[group], columns=columns, use_threads=False
        )
        for batch in iterate_untrusted(batches):
            if isinstance(batch, ParserFailure):
                position = f"rows {start} to {end - 1}"
                yield _refusal(url, position, "table_broken", batch.evidence)
                break
            yield from _batch_rows(url, start, batch)
            start += batch.num_rows
        start = end


def _column_names(file: pq.ParquetFile, left_out: Sequence[str]) -> list[str] | None:
    return [name for name in file.schema_arrow.names if name not in left_out] if left_out else None


def _batch_rows(url: str, start: int, batch: pa.RecordBatch) -> Iterator[Row | Refusal]:
    rows = parse_untrusted(batch.to_pylist)
    if not isinstance(rows, ParserFailure):
        for number, columns in enumerate(rows, start):
            yield Row(url, f"row {number}", columns)
        return
    # Some text is not UTF-8: such values are returned as bytes, and validated as files.
    for offset in range(batch.num_rows):
        row = parse_untrusted(partial(_row_with_bytes, batch.slice(offset, 1)))
        position = f"row {start + offset}"
        if isinstance(row, ParserFailure):
            yield _refusal(url, position, "unreadable_row", row.evidence)
        else:
            yield Row(url, position, row)


def _row_with_bytes(batch: pa.RecordBatch) -> dict[str, Any]:
    """A batch's only row, with text that is not UTF-8 as bytes."""
    schema = pa.schema([(field.name, _text_as_binary(field.type)) for field in batch.schema])
    (row,) = batch.cast(schema).to_pylist()
    return {name: _decode_text(value, batch.schema.field(name).type) for name, value in row.items()}


def _text_as_binary(kind: pa.DataType) -> pa.DataType:
    """The type with string types replaced by binary types."""
    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_text_as_binary(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_text_as_binary(field.type)) for field in kind])
    return kind


def _decode_text(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, list) and pa.types.is_list(kind):
        return [_decode_text(item, kind.value_type) for item in value]
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return {field.name: _decode_text(value.get(field.name), field.type) for field in kind}
    if isinstance(value, bytes) and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def _refusal(table: str, position: str, reason: str, evidence: str) -> Refusal:
    return Refusal(repository=printable(table), path=position, reason=reason, evidence=evidence)
