"""64-bit keys of texts: the first 64 bits of their ids, independent of the order of texts.

Among 200 million texts two have the same key with probability 1 in 1,000; they then count as exact
duplicates.
"""

import binascii
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.runtime.exchange.contract import PartitionIndices, PartitionOf
from snow_assets.runtime.exchange.partitions import range_of_keys

TextKeys = npt.NDArray[np.uint64]

_ID_CHARS, _KEY_CHARS = 64, 16


def text_keys(text_ids: pa.ChunkedArray) -> TextKeys:
    """The keys of a column of text ids; keys sort as the ids do."""
    chars = id_chars(text_ids)[:, :_KEY_CHARS]
    return np.frombuffer(binascii.unhexlify(chars.tobytes()), dtype=">u8").astype(np.uint64)


def ranges_of_ids(column: str) -> PartitionOf:
    """Partitions are ranges of a column of ids (SHA-256 in hexadecimal), in order."""
    return partial(_ranges_of_ids, column=column)


def _ranges_of_ids(table: pa.Table, num_partitions: int, *, column: str) -> PartitionIndices:
    return range_of_keys(text_keys(table[column]), num_partitions)


def id_chars(text_ids: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """A column of ids as characters, (ids, 64)."""
    parts = [np.zeros((0, _ID_CHARS), dtype=np.uint8)]
    for chunk in text_ids.chunks:
        if len(chunk):
            flat = chunk.cast(pa.binary()).cast(pa.binary(_ID_CHARS))
            data = np.frombuffer(flat.buffers()[1], dtype=np.uint8)
            start = flat.offset * _ID_CHARS
            parts.append(data[start : start + len(flat) * _ID_CHARS].reshape(-1, _ID_CHARS))
    return np.concatenate(parts)


def find_keys(
    ascending: TextKeys, keys: TextKeys
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """A mask of the keys that are among ascending ones, and the indices of these there.

    By binary search. Memory: 17 bytes per key; the ascending keys are neither copied nor sorted.
    """
    if not len(ascending):
        return np.zeros(len(keys), np.bool_), np.zeros(0, np.int64)
    indices = np.searchsorted(ascending, keys)
    indices[indices == len(ascending)] = 0
    is_present = ascending[indices] == keys
    return is_present, indices[is_present]


def as_ids(chars: npt.NDArray[np.uint8]) -> pa.StringArray:
    """The inverse of `id_chars`: characters, (ids, 64), as a column of ids."""
    flat = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(_ID_CHARS), len(chars), [None, pa.py_buffer(np.ascontiguousarray(chars))]
    )
    return flat.cast(pa.binary()).cast(pa.string())
