"""64-bit keys of texts: the first 64 bits of their ids, independent of the order of texts.

Among 200 million texts two have the same key with probability 1 in 1,000; they then count as exact
duplicates.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.storage.ids import first_64_bits

TextKeys = npt.NDArray[np.uint64]


def text_keys(text_ids: pa.ChunkedArray) -> TextKeys:
    """The keys of a column of text ids; keys sort as the ids do."""
    return first_64_bits(text_ids)


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
