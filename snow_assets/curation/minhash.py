"""Compiled loops of near deduplication: words to shingles, shingles to MinHash bands, overlaps.

All over Arrow's buffers: no Python object per row. What the values mean: `shingles`.
"""

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes
from snow_assets.curation.jit import kernel

Ints = npt.NDArray[np.int64]
Values32 = npt.NDArray[np.uint32]
Values64 = npt.NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MOST = np.uint32(0xFFFFFFFF)


def _in_word() -> npt.NDArray[np.bool_]:
    """For each byte whether words have it: other scripts have words too, so non-ASCII counts."""
    return np.array([byte >= 0x80 or chr(byte).isalnum() or byte == 0x5F for byte in range(256)])


WORD_BYTES = np.where(_in_word(), np.arange(1, 257), 0).astype(np.uint64)


@kernel
def _mixed(value: np.uint64) -> np.uint64:
    """Spread every bit over all others (the finalizer of SplitMix64, Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _runs(content: Bytes, table: Values64, last: Values64, found: Values32) -> int:
    """The hash of each run of len(last) words, in order; a text of fewer words is one run.

    `last` is room for the run's words, `found` for the hashes; returns how many there are.
    """
    size = last.size
    words = count = 0
    word = np.uint64(0)
    for place in range(content.size + 1):
        value = table[content[place]] if place < content.size else np.uint64(0)
        if value:
            word = (word + value) * _FACTOR
            continue
        if not word:
            continue
        # Shifted and multiplied, so that no letter can move from a word to its neighbour.
        word = (word ^ (word >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
        run = np.uint64(0)
        for back in range(size - 1):
            last[back] = last[back + 1]
            run = (run + last[back]) * _FACTOR
        last[size - 1] = word
        words += 1
        if words >= size:
            found[count] = _mixed(run + word) >> np.uint64(32)
            count += 1
        word = np.uint64(0)
    if 0 < words < size:
        run = np.uint64(0)
        for back in range(size - words, size):
            run = (run + last[back]) * _FACTOR
        found[0] = _mixed(run) >> np.uint64(32)
        count = 1
    return count


@kernel
def _distinct(values: Values32, count: int, heads: Ints, found: Values32) -> int:
    """Sort `count` evenly spread values into `found` without repeats; return how many are left.

    Their upper bits choose a bucket of about one; the rest is an insertion sort.
    """
    bits = 1
    while (1 << bits) < count and (1 << (bits + 1)) < heads.size:
        bits += 1
    shift = np.uint32(32 - bits)
    heads[: (1 << bits) + 1] = 0
    for place in range(count):
        heads[np.int64(values[place] >> shift) + 1] += 1
    for bucket in range(1 << bits):
        heads[bucket + 1] += heads[bucket]
    for place in range(count):
        bucket = int(values[place] >> shift)
        found[heads[bucket]] = values[place]
        heads[bucket] += 1
    for place in range(1, count):
        value = found[place]
        before = place - 1
        while before >= 0 and found[before] > value:
            found[before + 1] = found[before]
            before -= 1
        found[before + 1] = value
    kept = 0
    for place in range(count):
        value = found[place]
        found[kept] = value
        kept += int(place + 1 == count or found[place + 1] != value)
    return kept


@kernel
def least_hashes(values: Values32, factors: Values32, terms: Values32, least: Values32) -> None:
    """The least of factor x value + term modulo 2^32, for each factor; four at a time, so that
    a value is loaded once for four and eight values make a vector."""
    for row in range(0, factors.size, 4):
        factor0, factor1 = factors[row], factors[row + 1]
        factor2, factor3 = factors[row + 2], factors[row + 3]
        term0, term1, term2, term3 = terms[row], terms[row + 1], terms[row + 2], terms[row + 3]
        least0, least1, least2, least3 = _MOST, _MOST, _MOST, _MOST
        for place in range(values.size):
            value = values[place]
            # No vectors without the index, and none of eight without the casts to 32 bits.
            least0 = min(least0, np.uint32(factor0 * value + term0))
            least1 = min(least1, np.uint32(factor1 * value + term1))
            least2 = min(least2, np.uint32(factor2 * value + term2))
            least3 = min(least3, np.uint32(factor3 * value + term3))
        least[row], least[row + 1], least[row + 2], least[row + 3] = least0, least1, least2, least3


@kernel
def band_keys(least: Values32, rows_per_band: int, keys: Values64) -> None:
    """A key for each band's values; equal values in different bands have different keys."""
    for band in range(keys.size):
        key = _mixed(np.uint64(band + 1) * _FACTOR)
        for row in range(band * rows_per_band, (band + 1) * rows_per_band):
            key = _mixed(key * _FACTOR + np.uint64(least[row]))
        keys[band] = key


@kernel
def distinct_runs(
    content: Bytes,
    offsets: Ints,
    table: Values64,
    words: int,
    found: Values32,
    counts: Ints,
) -> int:
    """The sorted distinct shingles of each text, one text's after another's; returns how many.

    Text i ends where text i + 1 starts. `found` has room for half as many values as there are
    bytes, and one more per text. Memory beside that: four bytes per byte of the
    longest text, and at most 16 MB.
    """
    longest = 0
    for text in range(offsets.size - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    room = longest // 2 + 1
    raw = np.empty(room, dtype=np.uint32)
    heads = np.empty(min(2 * room + 3, 1 << 21), dtype=np.int64)
    last = np.empty(words, dtype=np.uint64)
    total = 0
    for text in range(offsets.size - 1):
        count = _runs(content[offsets[text] : offsets[text + 1]], table, last, raw)
        counts[text] = _distinct(raw, count, heads, found[total:])
        total += counts[text]
    return total


@kernel
def signatures(
    values: Values32,
    counts: Ints,
    factors: Values32,
    terms: Values32,
    rows_per_band: int,
    keys: Values64,
) -> None:
    """The band keys of each text's shingles, a row per text; zeros where it has none."""
    least = np.empty(factors.size, dtype=np.uint32)
    start = 0
    for text in range(counts.size):
        end = start + counts[text]
        if end > start:
            least_hashes(values[start:end], factors, terms, least)
            band_keys(least, rows_per_band, keys[text])
        else:
            keys[text] = 0
        start = end


@kernel
def shared(one: Values32, other: Values32) -> int:
    """How many values two sorted distinct arrays have in common."""
    count = left = right = 0
    while left < one.size and right < other.size:
        a, b = one[left], other[right]
        count += int(a == b)
        left += int(a <= b)
        right += int(b <= a)
    return count


@kernel
def jaccards(
    values: Values32,
    starts: Ints,
    counts: Ints,
    ones: Ints,
    others: Ints,
    least: float,
    found: npt.NDArray[np.float64],
) -> None:
    """The Jaccard similarity of pairs of texts; 0 where their sizes alone keep it below `least`."""
    for pair in range(ones.size):
        one, other = ones[pair], others[pair]
        size, other_size = counts[one], counts[other]
        found[pair] = 0.0
        if min(size, other_size) >= least * max(size, other_size):
            common = shared(
                values[starts[one] : starts[one] + size],
                values[starts[other] : starts[other] + other_size],
            )
            found[pair] = common / max(1, size + other_size - common)


@kernel
def distinct_pairs(
    texts: Values64, bounds: Ints, all_pairs: int, first_ones: int
) -> tuple[Values64, Values64]:
    """Pairs within buckets of rising texts (from one bound to the next), each pair once.

    Of a bucket of up to `all_pairs` texts all; in a larger one each text with the `first_ones`
    and with its neighbour, which connects whatever is alike throughout.
    """
    most = 0
    for bucket in range(bounds.size - 1):
        size = bounds[bucket + 1] - bounds[bucket]
        if size <= all_pairs:
            most += size * (size - 1) // 2
        else:
            most += (first_ones + 1) * size
    room = 4
    while room < 2 * most:
        room *= 2
    ones = np.empty(most, dtype=np.uint64)
    others = np.empty(most, dtype=np.uint64)
    places = np.full(room, -1, dtype=np.int64)
    count = 0
    for bucket in range(bounds.size - 1):
        start, end = bounds[bucket], bounds[bucket + 1]
        for first in range(start, end):
            last = end
            if end - start > all_pairs and first - start >= first_ones:
                last = min(end, first + 2)
            for second in range(first + 1, last):
                one, other = texts[first], texts[second]
                place = np.int64(_mixed(one * _FACTOR + other)) & (room - 1)
                while places[place] >= 0 and (
                    ones[places[place]] != one or others[places[place]] != other
                ):
                    place = (place + 1) & (room - 1)
                if places[place] < 0:
                    places[place] = count
                    ones[count], others[count] = one, other
                    count += 1
    return ones[:count], others[:count]


@kernel
def connect(ones: Ints, others: Ints, parents: Ints) -> None:
    """Union-find over pairs of places: afterwards each place's parent is its group's least."""
    for pair in range(ones.size):
        one, other = ones[pair], others[pair]
        while parents[one] != one:
            parents[one] = parents[parents[one]]  # halve the way for the next one
            one = parents[one]
        while parents[other] != other:
            parents[other] = parents[parents[other]]
            other = parents[other]
        parents[max(one, other)] = min(one, other)
    for place in range(parents.size):
        # A parent is never above its child, so the parent's own is final by now.
        parents[place] = parents[parents[place]]
