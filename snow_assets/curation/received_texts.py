"""Received bytes as texts: what of a column is text at all, said by one pass over its bytes."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.characters import SPACE, kind_at, kinds, width
from snow_assets.curation.columns import Bytes, Offsets, buffers
from snow_assets.curation.jit import kernel

TEXT, NUL_BYTES, INVALID_UTF8, EMPTY = 0, 1, 2, 3

_BYTE_ORDER_MARK_BYTES = 3


def states(contents: pa.Array) -> npt.NDArray[np.uint8]:
    """TEXT for each value that is UTF-8 with something to see in it, else the first that is not."""
    data, offsets = buffers(contents)
    found = np.zeros(len(contents), dtype=np.uint8)
    _look(data, offsets, kinds(), found)
    return found


def as_texts(contents: pa.Array, rows: npt.NDArray[np.int64]) -> pa.Array:
    """These rows, all TEXT, as strings without a byte order mark. Memory: a copy of them."""
    data, offsets = buffers(contents)
    starts, ends = offsets[rows], offsets[rows + 1]
    starts = starts + _BYTE_ORDER_MARK_BYTES * _has_mark(data, starts, ends)
    made = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(ends - starts, out=made[1:])
    copied = np.empty(made[-1], dtype=np.uint8)
    _copy(data, starts, made, copied)
    kind, width = (pa.string(), np.int32) if made[-1] < 2**31 else (pa.large_string(), np.int64)
    parts = [None, pa.py_buffer(made.astype(width)), pa.py_buffer(copied)]
    return pa.Array.from_buffers(kind, len(rows), parts)


@kernel
def _look(data: Bytes, offsets: Offsets, kinds: Bytes, found: Bytes) -> None:
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        either, has_nul = 0, False
        for byte in text:
            either |= byte
            has_nul |= byte == 0
        if has_nul:
            found[row] = NUL_BYTES
        elif either >= 0x80 and not _is_utf8(text):
            found[row] = INVALID_UTF8
        elif _is_blank(text, kinds):
            found[row] = EMPTY


@kernel
def _is_utf8(text: Bytes) -> bool:
    """Whether the bytes are UTF-8 as RFC 3629 has it: shortest forms, no surrogates."""
    place = 0
    while place < len(text):
        first = text[place]
        if first < 0x80:
            place += 1
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        after = place + width(first)
        if after > len(text):
            return False
        second = text[place + 1]
        if (
            (first == 0xE0 and second < 0xA0)
            or (first == 0xED and second > 0x9F)
            or (first == 0xF0 and second < 0x90)
            or (first == 0xF4 and second > 0x8F)
        ):
            return False
        for later in range(place + 1, after):
            if text[later] & 0xC0 != 0x80:
                return False
        place = after
    return True


@kernel
def _starts_with_mark(text: Bytes) -> bool:
    return len(text) >= 3 and text[0] == 0xEF and text[1] == 0xBB and text[2] == 0xBF


@kernel
def _is_blank(text: Bytes, kinds: Bytes) -> bool:
    place = _BYTE_ORDER_MARK_BYTES if _starts_with_mark(text) else 0
    while place < len(text):
        if not kind_at(text, place, kinds) & SPACE:
            return False
        place += width(text[place])
    return True


@kernel
def _has_mark(data: Bytes, starts: Offsets, ends: Offsets) -> Bytes:
    found = np.zeros(len(starts), dtype=np.uint8)
    for row in range(len(starts)):
        found[row] = _starts_with_mark(data[starts[row] : ends[row]])
    return found


@kernel
def _copy(data: Bytes, starts: Offsets, made: Offsets, copied: Bytes) -> None:
    for row in range(len(starts)):
        size = made[row + 1] - made[row]
        copied[made[row] : made[row + 1]] = data[starts[row] : starts[row] + size]
