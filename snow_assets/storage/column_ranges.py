"""Columns of a Parquet file, read by byte ranges that are compared with recorded digests.

The digests are the first `DIGEST_BYTES` bytes of the SHA-256 of the file's footer and of the column
chunks of each leaf column, in the schema's order. They lie in the file's record, so the file itself
is plain Parquet. Unlike Parquet's page checksums (CRC32) they cover page headers, too, and are
compared before anything is decoded.
"""

import hashlib
import mmap
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import merge_offset_ranges

from snow_assets.storage.object_store import file_system

DIGEST_BYTES = 8

_TAIL_BYTES = 8  # the footer's length and Parquet's magic number
_MAX_GAP_BYTES = 2**17  # between ranges of an object, cheaper to read than a further request

Range = tuple[int, int]


class ChangedBytesError(ValueError):
    """Bytes of a file differ from its record; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class RangeDigests:
    """What is known of a Parquet file before it is read."""

    num_bytes: int
    footer_bytes: int  # with the length and the magic number that end the file
    digests: str  # hexadecimal, of the footer and of each leaf column


def range_digests(content: memoryview) -> RangeDigests:
    """Digest the footer and each leaf column of a Parquet file."""
    num_bytes = len(content)
    footer_bytes = int.from_bytes(content[-_TAIL_BYTES:-4], "little") + _TAIL_BYTES
    metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(content)))
    ranges = [[(num_bytes - footer_bytes, num_bytes)]]
    ranges += [_chunks(metadata, leaf) for leaf in range(metadata.num_columns)]
    return RangeDigests(
        num_bytes=num_bytes,
        footer_bytes=footer_bytes,
        digests="".join(_digest(content, parts) for parts in ranges),
    )


def open_columns(url: str, expected: RangeDigests, columns: Sequence[str]) -> pq.ParquetFile:
    """A Parquet file of which only these columns can be read; none: its schema alone.

    ChangedBytesError if a byte of them or of the footer is not what was written. Memory: their
    chunks as stored; the rest of the file's size is address space that is never touched.
    """
    # A buffer, since Arrow's reader threads over a Python file can outlive the interpreter and
    # abort it.
    content = mmap.mmap(-1, expected.num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    view = memoryview(content)
    footer = (expected.num_bytes - expected.footer_bytes, expected.num_bytes)
    _fill(url, view, [footer])
    _compare(view, [footer], expected, 0, "footer")
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
    chunks = {
        leaf: _chunks(file.metadata, leaf)
        for leaf in range(file.metadata.num_columns)
        if file.metadata.schema.column(leaf).path.split(".")[0] in columns
    }
    _fill(url, view, sorted(chunk for parts in chunks.values() for chunk in parts))
    for leaf, parts in chunks.items():
        name = file.metadata.schema.column(leaf).path
        _compare(view, parts, expected, 1 + leaf, f"column {name}")
    return file


def _chunks(metadata: pq.FileMetaData, leaf: int) -> list[Range]:
    """The byte range of a leaf column in each row group."""
    chunks = []
    for index in range(metadata.num_row_groups):
        chunk = metadata.row_group(index).column(leaf)
        offsets = (chunk.dictionary_page_offset, chunk.data_page_offset)
        start = min(offset for offset in offsets if offset is not None)
        chunks.append((start, start + chunk.total_compressed_size))
    return chunks


def _digest(content: memoryview, ranges: Iterable[Range]) -> str:
    digest = hashlib.sha256()
    for start, end in ranges:
        digest.update(content[start:end])
    return digest.hexdigest()[: 2 * DIGEST_BYTES]


def _compare(
    content: memoryview, ranges: Iterable[Range], expected: RangeDigests, index: int, name: str
) -> None:
    digest = _digest(content, ranges)
    recorded = expected.digests[2 * DIGEST_BYTES * index :][: 2 * DIGEST_BYTES]
    if digest != recorded:
        raise ChangedBytesError(
            f"the digest of its {name} is {digest}, and {recorded or 'none'} was written"
        )


def _fill(url: str, content: memoryview, ranges: Sequence[Range]) -> None:
    """Read ranges of a file, in ascending order, into their places in `content`.

    ChangedBytesError if the file has another size.
    """
    system, path = file_system(url)
    starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
    is_local = isinstance(system, LocalFileSystem)
    max_gap = 0 if is_local else _MAX_GAP_BYTES
    _, starts, ends = merge_offset_ranges([path] * len(ranges), starts, ends, max_gap, sort=False)
    if is_local:
        _fill_locally(path, content, list(zip(starts, ends, strict=True)))
        return
    try:
        parts = system.cat_ranges([path] * len(starts), starts, ends, on_error="raise")
    except FileNotFoundError:
        raise
    except OSError:  # a range beyond the end of an object is refused
        _compare_size(system.size(path), content)
        raise
    for start, end, part in zip(starts, ends, parts, strict=True):
        if len(part) != end - start:
            _compare_size(start + len(part), content)
        content[start:end] = part


def _fill_locally(path: str, content: memoryview, ranges: Iterable[Range]) -> None:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - of a file system's path
        _compare_size(os.fstat(file.fileno()).st_size, content)
        for start, end in ranges:
            file.seek(start)
            while start < end and (num_read := file.readinto(content[start:end])):
                start += num_read


def _compare_size(num_bytes: int, content: memoryview) -> None:
    if num_bytes != len(content):
        raise ChangedBytesError(f"it has {num_bytes:,} bytes, and {len(content):,} were written")
