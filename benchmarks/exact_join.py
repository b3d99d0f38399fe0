"""All pairs of texts at a Jaccard similarity, without MinHash: what deduplication is held against.

Two sets that are so alike share one of their rarest shingles: of n, one of the first
n - ceil(least x n) + 1 in the order of frequency (prefix filter, Chaudhuri et al. 2006). All pairs
that do are compared.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]


def exact_pairs(values: npt.NDArray[np.uint32], counts: Ints, least: float) -> set[tuple[int, int]]:
    """The pairs (one < other) of texts at `least` or above. `values`: their sorted shingles, one
    text's after another's."""
    _, places, frequencies = np.unique(values, return_inverse=True, return_counts=True)
    rarity = np.argsort(np.argsort(frequencies, kind="stable"))[places]  # 0: the rarest
    ends = np.cumsum(counts)
    prefixes, owners = [], []
    for text, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        size = int(end - start)
        if size:
            first = np.sort(rarity[start:end])[: size - math.ceil(least * size) + 1]
            prefixes.append(first)
            owners.append(np.full(len(first), text))
    shingles, texts = np.concatenate(prefixes), np.concatenate(owners)
    order = np.lexsort((texts, shingles))
    bounds = np.flatnonzero(np.diff(shingles[order], prepend=-1, append=-1))
    found = _compare(values, ends - counts, counts, texts[order], bounds, least)
    return set(zip(found[0].tolist(), found[1].tolist(), strict=True))


@njit(cache=True)
def _compare(values, starts, counts, texts, bounds, least):  # type: ignore[no-untyped-def]
    seen = {(np.int64(0), np.int64(0))}
    ones, others = [np.int64(0)], [np.int64(0)]
    for bucket in range(bounds.size - 1):
        for first in range(bounds[bucket], bounds[bucket + 1]):
            for second in range(first + 1, bounds[bucket + 1]):
                one, other = texts[first], texts[second]
                size, more = counts[one], counts[other]
                if min(size, more) < least * max(size, more) or (one, other) in seen:
                    continue
                seen.add((one, other))
                common = left = right = 0
                while left < size and right < more:
                    a, b = values[starts[one] + left], values[starts[other] + right]
                    common += a == b
                    left += a <= b
                    right += b <= a
                if common >= least * (size + more - common):
                    ones.append(one)
                    others.append(other)
    return np.array(ones[1:]), np.array(others[1:])
