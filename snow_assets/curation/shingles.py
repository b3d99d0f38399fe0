"""A text as the set of its word n-grams, hashed: what near duplicates are compared by."""

import numpy as np

from snow_assets.curation.hashing import Hashes, mixed, run_hashes, word_hashes

_SEED = 0x5EED


def shingles(text: str, *, words: int) -> Hashes:
    """The sorted, distinct hashes of all runs of `words` words; a shorter text is one run.

    Words are runs of letters, digits, underscores and non-ASCII characters; case counts, white
    space and punctuation do not. A text without a word has no shingle and resembles nothing.
    """
    hashes = word_hashes(text.encode())
    if not len(hashes):
        return hashes
    return np.unique(run_hashes(hashes, min(words, len(hashes))))


def jaccard(one: Hashes, other: Hashes) -> float:
    """Shared among all shingles; 0 where both have none."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def band_hashes(shingle_hashes: Hashes, *, bands: int, rows_per_band: int) -> Hashes:
    """A hash per band of the MinHash signature; texts of equal shingles have equal bands.

    A signature has bands x rows_per_band values, each the least of all shingles under its own
    multiply-add hash modulo 2^64 (its upper half): deterministic constants, no file to keep.
    Memory: 2 MiB beside the result.
    """
    count = bands * rows_per_band
    constants = mixed(np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(_SEED))
    factors, terms = constants[:count] | np.uint64(1), constants[count:]
    least = np.full(count, 2**64 - 1, dtype=np.uint64)
    chunk = max(1, 2**18 // count)
    for start in range(0, len(shingle_hashes), chunk):
        values = factors[:, None] * shingle_hashes[None, start : start + chunk] + terms[:, None]
        np.minimum(least, values.min(axis=1), out=least)
    return run_hashes_of_rows((least >> np.uint64(32)).reshape(bands, rows_per_band))


def run_hashes_of_rows(rows: Hashes) -> Hashes:
    """A hash per row of a matrix."""
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        hashes = mixed(hashes * np.uint64(0x9E3779B97F4A7C15) + column)
    return hashes
