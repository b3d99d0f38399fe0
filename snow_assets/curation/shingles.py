"""A text as the set of its word n-grams, hashed: what near duplicates are compared by.

The loops are in `minhash`, imported when one is needed: the definitions load without numba.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import buffers
from snow_assets.curation.hashing import Hashes, mixed

Shingles = npt.NDArray[np.uint32]
"""Sorted, distinct hashes of 32 bits: of two texts of 10,000 shingles about one in a million is
taken for another's."""

_SEED = 0x5EED
_STRIDE = 4  # least_hashes computes so many at once


def shingles(text: str, *, words: int) -> Shingles:
    """The sorted, distinct hashes of all runs of `words` words; a shorter text is one run.

    Words are runs of letters, digits, underscores and non-ASCII characters; case counts, white
    space and punctuation do not. A text without a word has no shingle and resembles nothing.
    """
    found, _ = shingles_of(pa.array([text], pa.string()), words=words)
    return found


def shingles_of(texts: pa.StringArray, *, words: int) -> tuple[Shingles, npt.NDArray[np.int64]]:
    """The shingles of many texts, one text's after another's, and how many each has."""
    from snow_assets.curation.minhash import WORD_BYTES, distinct_runs

    data, offsets = buffers(texts)
    counts = np.zeros(len(texts), dtype=np.int64)
    room = np.empty((offsets[-1] - offsets[0]) // 2 + len(texts), dtype=np.uint32)
    total = distinct_runs(data, offsets, WORD_BYTES, words, room, counts)
    return room[:total].copy(), counts


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared among all shingles; 0 where both have none."""
    from snow_assets.curation.minhash import shared

    common = shared(one, other)
    return float(common / max(1, len(one) + len(other) - common))


def band_hashes(shingle_hashes: Shingles, *, bands: int, rows_per_band: int) -> Hashes:
    """A hash per band of the MinHash signature; texts of equal shingles have equal bands.

    A signature has bands x rows_per_band values, each the least of all shingles under its own
    multiply-add hash modulo 2^32: deterministic constants, no file to keep.
    """
    counts = np.array([len(shingle_hashes)])
    return bands_of(shingle_hashes, counts, bands=bands, rows_per_band=rows_per_band).reshape(-1)


def bands_of(
    values: Shingles, counts: npt.NDArray[np.int64], *, bands: int, rows_per_band: int
) -> Hashes:
    """The band hashes of many texts' shingles, a row per text; zeros for a text without any."""
    from snow_assets.curation.minhash import signatures

    keys = np.empty((len(counts), bands), dtype=np.uint64)
    factors, terms = _constants(bands * rows_per_band)
    signatures(values, counts, factors, terms, rows_per_band, keys)
    return keys


@cache
def _constants(count: int) -> tuple[Shingles, Shingles]:
    """Odd factors, and terms; some more than `count`, to a multiple of the stride."""
    size = -(-count // _STRIDE) * _STRIDE
    values = mixed(np.arange(1, 2 * size + 1, dtype=np.uint64) * np.uint64(_SEED))
    upper = (values >> np.uint64(32)).astype(np.uint32)
    return upper[:size] | np.uint32(1), upper[size:]
