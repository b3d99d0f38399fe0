"""Texts told apart by the first 64 bits of their ids: numbers that any order of arrival agrees on.

Among 200 million texts two share them with a chance of 1 in 1,000, and then one of the two counts
as the other's copy.
"""

import binascii

import numpy as np
import numpy.typing as npt
import pyarrow as pa

TextKeys = npt.NDArray[np.uint64]

_ID_CHARS, _KEY_CHARS = 64, 16


def text_keys(text_ids: pa.ChunkedArray) -> TextKeys:
    """The keys of a column of text ids; in the order of keys texts are in the order of ids."""
    chars = id_chars(text_ids)[:, :_KEY_CHARS]
    return np.frombuffer(binascii.unhexlify(chars.tobytes()), dtype=">u8").astype(np.uint64)


def id_chars(text_ids: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """A column of ids as a row of 64 characters each."""
    parts = [np.zeros((0, _ID_CHARS), dtype=np.uint8)]
    for chunk in text_ids.chunks:
        if len(chunk):
            flat = chunk.cast(pa.binary()).cast(pa.binary(_ID_CHARS))
            data = np.frombuffer(flat.buffers()[1], dtype=np.uint8)
            start = flat.offset * _ID_CHARS
            parts.append(data[start : start + len(flat) * _ID_CHARS].reshape(-1, _ID_CHARS))
    return np.concatenate(parts)


def as_ids(chars: npt.NDArray[np.uint8]) -> pa.StringArray:
    """Rows of 64 characters as a column of ids again."""
    flat = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(_ID_CHARS), len(chars), [None, pa.py_buffer(np.ascontiguousarray(chars))]
    )
    return flat.cast(pa.binary()).cast(pa.string())
