"""Shingles (hashed word n-grams) of texts, their Jaccard similarity and MinHash bands.

The kernels are in `minhash`, imported lazily so that the Dagster definitions load without numba.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import buffers
from snow_assets.curation.hashing import Hashes, splitmix64

Shingles = npt.NDArray[np.uint32]
"""Sorted, distinct hashes of 32 bits: between two texts of 10,000 shingles about one shingle in a
million collides."""

_SEED = 0x5EED
_STRIDE = 4  # hash functions that min_hashes evaluates at once


def shingles(text: str, *, words: int) -> Shingles:
    """The sorted, distinct hashes of all n-grams of `words` words; a shorter text is one n-gram.

    A word is a sequence of letters, digits, underscores and non-ASCII characters, case-sensitive;
    white space and punctuation are ignored. A text without words has no shingles and no near
    duplicates.
    """
    values, _ = shingles_of(pa.array([text], pa.string()), words=words)
    return values


def shingles_of(texts: pa.StringArray, *, words: int) -> tuple[Shingles, npt.NDArray[np.int64]]:
    """The shingles of all texts, concatenated, and the number of shingles of each text."""
    from snow_assets.curation.dedup.minhash import WORD_BYTES, distinct_shingles

    data, offsets = buffers(texts)
    counts = np.zeros(len(texts), dtype=np.int64)
    buffer = np.empty((offsets[-1] - offsets[0]) // 2 + len(texts), dtype=np.uint32)
    total = distinct_shingles(data, offsets, WORD_BYTES, words, buffer, counts)
    return buffer[:total].copy(), counts


def jaccard(left: Shingles, right: Shingles) -> float:
    """Jaccard similarity of two sets of shingles; 0 if both are empty."""
    from snow_assets.curation.dedup.minhash import intersection_size

    num_common = intersection_size(left, right)
    return float(num_common / max(1, len(left) + len(right) - num_common))


def band_hashes(shingle_hashes: Shingles, *, bands: int, rows_per_band: int) -> Hashes:
    """A hash per band of the MinHash signature; equal sets of shingles have equal bands.

    A signature has bands x rows_per_band values, each the minimum over all shingles of a
    multiply-add hash modulo 2^32, whose constants are derived from a fixed seed.
    """
    counts = np.array([len(shingle_hashes)])
    return bands_of(shingle_hashes, counts, bands=bands, rows_per_band=rows_per_band).reshape(-1)


def bands_of(
    values: Shingles, counts: npt.NDArray[np.int64], *, bands: int, rows_per_band: int
) -> Hashes:
    """The band hashes of each text's shingles, (texts, bands); zeros for a text without any."""
    from snow_assets.curation.dedup.minhash import signatures

    keys = np.empty((len(counts), bands), dtype=np.uint64)
    factors, terms = _constants(bands * rows_per_band)
    signatures(values, counts, factors, terms, rows_per_band, keys)
    return keys


@cache
def _constants(num_hashes: int) -> tuple[Shingles, Shingles]:
    """Odd factors and terms of the hash functions, padded to a multiple of the stride."""
    size = -(-num_hashes // _STRIDE) * _STRIDE
    values = splitmix64(np.arange(1, 2 * size + 1, dtype=np.uint64) * np.uint64(_SEED))
    upper = (values >> np.uint64(32)).astype(np.uint32)
    return upper[:size] | np.uint32(1), upper[size:]
