"""Polynomial rolling hashes of words, word n-grams and byte windows of a text, in numpy.

A hash is a polynomial in the text's bytes modulo 2^64, mixed by SplitMix64's finalizer. The hashes
of all windows of a text take one pass. Two different words collide with probability about 2^-64
unless they are adversarial.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_FACTOR = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_FACTOR, -1, 2**64)


def splitmix64(values: Hashes) -> Hashes:
    """The finalizer of SplitMix64 (Steele et al. 2014): each input bit affects all output bits."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def _powers(size: int, factor: int) -> Hashes:
    powers = np.full(size, factor, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def powers(count: int, factor: int = _FACTOR) -> Hashes:
    """factor^0 ... factor^(count-1) modulo 2^64; cached, in sizes that double."""
    return _powers(1 << max(10, (count - 1).bit_length()), factor)[:count]


def _prefix(values: Hashes) -> Hashes:
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * powers(len(values)), out=sums[1:])
    return sums


@cache
def _word_bytes() -> npt.NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    for byte in range(256):
        # Bytes of multi-byte characters belong to words, for words of other scripts.
        table[byte] = byte >= 0x80 or chr(byte).isalnum() or byte == ord("_")
    return table


def word_spans(content: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Starts and ends of the words of a UTF-8 text: runs of letters, digits, `_` and non-ASCII."""
    return byte_runs(content, _word_bytes())


def byte_runs(
    content: bytes, table: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Starts and ends of the runs of bytes that are True in a table of 256."""
    inside = np.zeros(len(content) + 2, dtype=np.int8)
    inside[1:-1] = table[np.frombuffer(content, dtype=np.uint8)]
    edges = np.diff(inside)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def span_hashes(
    content: bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Hashes:
    """A hash per span of a text; equal bytes have equal hashes in every text."""
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    values = np.frombuffer(content, dtype=np.uint8).astype(np.uint64) + np.uint64(1)
    sums = _prefix(values)
    back = powers(len(content), _INVERSE)
    return splitmix64((sums[ends] - sums[starts]) * back[starts])


def ngram_hashes(values: Hashes, length: int) -> Hashes:
    """A hash per n-gram of `length` consecutive values, in order."""
    count = len(values) - length + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        hashes = splitmix64(hashes * np.uint64(_FACTOR) + values[offset : offset + count])
    return hashes


def window_hashes(content: bytes, length: int) -> Hashes:
    """A hash per window of `length` bytes, in order."""
    if len(content) < length:
        return np.zeros(0, dtype=np.uint64)
    sums = _prefix(np.frombuffer(content, dtype=np.uint8).astype(np.uint64) + np.uint64(1))
    back = powers(len(content), _INVERSE)[: len(sums) - length]
    return splitmix64((sums[length:] - sums[:-length]) * back)


@dataclass(frozen=True)
class HashSet:
    """A set of sorted distinct hashes; a bitmap of prefixes rejects most absent hashes."""

    values: Hashes
    _bitmap: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, values: Iterable[int]) -> "HashSet":
        ordered = np.array(sorted(set(values)), dtype=np.uint64)
        bitmap = np.zeros(2**20, dtype=np.bool_)
        bitmap[ordered >> np.uint64(44)] = True
        return cls(ordered, bitmap)

    def indices_in(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """The ascending indices of the `hashes` that are in the set."""
        candidates = np.flatnonzero(self._bitmap[hashes >> np.uint64(44)])
        ranks = np.searchsorted(self.values, hashes[candidates])
        ranks[ranks == len(self.values)] = 0
        return (
            candidates[self.values[ranks] == hashes[candidates]] if len(self.values) else candidates
        )

    def index(self, hashed: int) -> int:
        """The index in `values` of a hash of the set."""
        return int(np.searchsorted(self.values, np.uint64(hashed)))
