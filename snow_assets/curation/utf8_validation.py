"""Validate received bytes as UTF-8 text, in one pass over a column, and decode the valid ones."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.characters import SPACE, kind_at, kinds, width
from snow_assets.curation.columns import Bytes, Offsets, buffers
from snow_assets.curation.jit import kernel

TEXT, NUL_BYTES, INVALID_UTF8, EMPTY = 0, 1, 2, 3

_BYTE_ORDER_MARK_BYTES = 3


def text_statuses(contents: pa.Array) -> npt.NDArray[np.uint8]:
    """The status of each value: TEXT if it is UTF-8 and not blank, else the first that applies."""
    data, offsets = buffers(contents)
    statuses = np.zeros(len(contents), dtype=np.uint8)
    _validate(data, offsets, kinds(), statuses)
    return statuses


def decode_rows(contents: pa.Array, rows: npt.NDArray[np.int64]) -> pa.Array:
    """Rows with status TEXT as strings without a byte order mark. Memory: a copy of them."""
    data, offsets = buffers(contents)
    starts, ends = offsets[rows], offsets[rows + 1]
    starts = starts + _BYTE_ORDER_MARK_BYTES * _has_byte_order_mark(data, starts, ends)
    output_offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(ends - starts, out=output_offsets[1:])
    output = np.empty(output_offsets[-1], dtype=np.uint8)
    _copy(data, starts, output_offsets, output)
    kind, width = (
        (pa.string(), np.int32) if output_offsets[-1] < 2**31 else (pa.large_string(), np.int64)
    )
    parts = [None, pa.py_buffer(output_offsets.astype(width)), pa.py_buffer(output)]
    return pa.Array.from_buffers(kind, len(rows), parts)


@kernel
def _validate(data: Bytes, offsets: Offsets, kinds: Bytes, statuses: Bytes) -> None:
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        all_bits, has_nul = 0, False
        for byte in text:
            all_bits |= byte
            has_nul |= byte == 0
        if has_nul:
            statuses[row] = NUL_BYTES
        elif all_bits >= 0x80 and not _is_utf8(text):
            statuses[row] = INVALID_UTF8
        elif _is_blank(text, kinds):
            statuses[row] = EMPTY


@kernel
def _is_utf8(text: Bytes) -> bool:
    """Whether the bytes are valid UTF-8 (RFC 3629): shortest forms, no surrogates."""
    offset = 0
    while offset < len(text):
        first = text[offset]
        if first < 0x80:
            offset += 1
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        end = offset + width(first)
        if end > len(text):
            return False
        second = text[offset + 1]
        if (
            (first == 0xE0 and second < 0xA0)
            or (first == 0xED and second > 0x9F)
            or (first == 0xF0 and second < 0x90)
            or (first == 0xF4 and second > 0x8F)
        ):
            return False
        for index in range(offset + 1, end):
            if text[index] & 0xC0 != 0x80:
                return False
        offset = end
    return True


@kernel
def _starts_with_byte_order_mark(text: Bytes) -> bool:
    return len(text) >= 3 and text[0] == 0xEF and text[1] == 0xBB and text[2] == 0xBF


@kernel
def _is_blank(text: Bytes, kinds: Bytes) -> bool:
    offset = _BYTE_ORDER_MARK_BYTES if _starts_with_byte_order_mark(text) else 0
    while offset < len(text):
        if not kind_at(text, offset, kinds) & SPACE:
            return False
        offset += width(text[offset])
    return True


@kernel
def _has_byte_order_mark(data: Bytes, starts: Offsets, ends: Offsets) -> Bytes:
    flags = np.zeros(len(starts), dtype=np.uint8)
    for row in range(len(starts)):
        flags[row] = _starts_with_byte_order_mark(data[starts[row] : ends[row]])
    return flags


@kernel
def _copy(data: Bytes, starts: Offsets, output_offsets: Offsets, output: Bytes) -> None:
    for row in range(len(starts)):
        size = output_offsets[row + 1] - output_offsets[row]
        output[output_offsets[row] : output_offsets[row + 1]] = data[
            starts[row] : starts[row] + size
        ]
