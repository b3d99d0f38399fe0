"""Compiled kernels of near deduplication: shingles, MinHash signatures, Jaccard, union-find.

They loop over Arrow's buffers, without a Python object per row. `shingles` defines the values.
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


def _is_word_byte() -> npt.NDArray[np.bool_]:
    """A table of the bytes that belong to a word; non-ASCII bytes, too, for other scripts."""
    return np.array([byte >= 0x80 or chr(byte).isalnum() or byte == 0x5F for byte in range(256)])


WORD_BYTES = np.where(_is_word_byte(), np.arange(1, 257), 0).astype(np.uint64)


@kernel
def _splitmix64(value: np.uint64) -> np.uint64:
    """The finalizer of SplitMix64 (Steele et al. 2014): each input bit affects all output bits."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _shingle_hashes(content: Bytes, table: Values64, window: Values64, hashes: Values32) -> int:
    """Hash each shingle of len(window) words, in order; a shorter text is one shingle.

    `window` is a buffer for the words of a shingle, `hashes` for the hashes; return their number.
    """
    size = window.size
    words = count = 0
    word = np.uint64(0)
    for offset in range(content.size + 1):
        value = table[content[offset]] if offset < content.size else np.uint64(0)
        if value:
            word = (word + value) * _FACTOR
            continue
        if not word:
            continue
        # Mix the word, so that `ab c` and `a bc` have different hashes.
        word = (word ^ (word >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
        shingle = np.uint64(0)
        for back in range(size - 1):
            window[back] = window[back + 1]
            shingle = (shingle + window[back]) * _FACTOR
        window[size - 1] = word
        words += 1
        if words >= size:
            hashes[count] = _splitmix64(shingle + word) >> np.uint64(32)
            count += 1
        word = np.uint64(0)
    if 0 < words < size:
        shingle = np.uint64(0)
        for back in range(size - words, size):
            shingle = (shingle + window[back]) * _FACTOR
        hashes[0] = _splitmix64(shingle) >> np.uint64(32)
        count = 1
    return count


@kernel
def _distinct(values: Values32, count: int, bucket_ends: Ints, output: Values32) -> int:
    """Sort `count` uniform values into `output` without duplicates; return the output's size.

    A bucket sort by the upper bits, about one value per bucket, then an insertion sort.
    """
    bits = 1
    while (1 << bits) < count and (1 << (bits + 1)) < bucket_ends.size:
        bits += 1
    shift = np.uint32(32 - bits)
    bucket_ends[: (1 << bits) + 1] = 0
    for index in range(count):
        bucket_ends[np.int64(values[index] >> shift) + 1] += 1
    for bucket in range(1 << bits):
        bucket_ends[bucket + 1] += bucket_ends[bucket]
    for index in range(count):
        bucket = int(values[index] >> shift)
        output[bucket_ends[bucket]] = values[index]
        bucket_ends[bucket] += 1
    for index in range(1, count):
        value = output[index]
        slot = index - 1
        while slot >= 0 and output[slot] > value:
            output[slot + 1] = output[slot]
            slot -= 1
        output[slot + 1] = value
    size = 0
    for index in range(count):
        value = output[index]
        output[size] = value
        size += int(index + 1 == count or output[index + 1] != value)
    return size


@kernel
def min_hashes(values: Values32, factors: Values32, terms: Values32, minima: Values32) -> None:
    """The minimum of factor x value + term modulo 2^32 over the values, for each factor.

    Four factors at a time: a value is loaded once for four, and SIMD takes eight values.
    """
    for row in range(0, factors.size, 4):
        factor0, factor1 = factors[row], factors[row + 1]
        factor2, factor3 = factors[row + 2], factors[row + 3]
        term0, term1, term2, term3 = terms[row], terms[row + 1], terms[row + 2], terms[row + 3]
        minimum0, minimum1, minimum2, minimum3 = _MOST, _MOST, _MOST, _MOST
        for index in range(values.size):
            value = values[index]
            # LLVM vectorizes only with the index, and with eight lanes only with the casts.
            minimum0 = min(minimum0, np.uint32(factor0 * value + term0))
            minimum1 = min(minimum1, np.uint32(factor1 * value + term1))
            minimum2 = min(minimum2, np.uint32(factor2 * value + term2))
            minimum3 = min(minimum3, np.uint32(factor3 * value + term3))
        minima[row], minima[row + 1], minima[row + 2], minima[row + 3] = (
            minimum0,
            minimum1,
            minimum2,
            minimum3,
        )


@kernel
def band_keys(minima: Values32, rows_per_band: int, keys: Values64) -> None:
    """Hash each band's values to a key; the key depends on the band as well."""
    for band in range(keys.size):
        key = _splitmix64(np.uint64(band + 1) * _FACTOR)
        for row in range(band * rows_per_band, (band + 1) * rows_per_band):
            key = _splitmix64(key * _FACTOR + np.uint64(minima[row]))
        keys[band] = key


@kernel
def distinct_shingles(
    content: Bytes,
    offsets: Ints,
    table: Values64,
    words: int,
    hashes: Values32,
    counts: Ints,
) -> int:
    """Write the sorted distinct shingles of each text, text after text; return their number.

    Text i ends where text i + 1 starts. `hashes` needs half as many values as there are bytes, and
    one more per text. Memory in addition: four bytes per byte of the longest text, and at most
    16 MB.
    """
    longest = 0
    for text in range(offsets.size - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    max_shingles = longest // 2 + 1
    unsorted = np.empty(max_shingles, dtype=np.uint32)
    bucket_ends = np.empty(min(2 * max_shingles + 3, 1 << 21), dtype=np.int64)
    window = np.empty(words, dtype=np.uint64)
    total = 0
    for text in range(offsets.size - 1):
        count = _shingle_hashes(content[offsets[text] : offsets[text + 1]], table, window, unsorted)
        counts[text] = _distinct(unsorted, count, bucket_ends, hashes[total:])
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
    """Write the band keys of each text's shingles, (texts, bands); zeros for a text without any."""
    minima = np.empty(factors.size, dtype=np.uint32)
    start = 0
    for text in range(counts.size):
        end = start + counts[text]
        if end > start:
            min_hashes(values[start:end], factors, terms, minima)
            band_keys(minima, rows_per_band, keys[text])
        else:
            keys[text] = 0
        start = end


@kernel
def intersection_size(left_values: Values32, right_values: Values32) -> int:
    """The number of values in both of two sorted arrays without duplicates."""
    count = left_index = right_index = 0
    while left_index < left_values.size and right_index < right_values.size:
        left_value, right_value = left_values[left_index], right_values[right_index]
        count += int(left_value == right_value)
        left_index += int(left_value <= right_value)
        right_index += int(right_value <= left_value)
    return count


@kernel
def jaccards(
    values: Values32,
    starts: Ints,
    counts: Ints,
    left: Ints,
    right: Ints,
    min_jaccard: float,
    similarities: npt.NDArray[np.float64],
) -> None:
    """The Jaccard similarity of each pair; 0 if the sizes alone keep it below `min_jaccard`."""
    for pair in range(left.size):
        first, second = left[pair], right[pair]
        first_size, second_size = counts[first], counts[second]
        similarities[pair] = 0.0
        if min(first_size, second_size) >= min_jaccard * max(first_size, second_size):
            common = intersection_size(
                values[starts[first] : starts[first] + first_size],
                values[starts[second] : starts[second] + second_size],
            )
            similarities[pair] = common / max(1, first_size + second_size - common)


@kernel
def distinct_pairs(
    texts: Values64, bounds: Ints, all_pairs: int, num_pivots: int
) -> tuple[Values64, Values64]:
    """Distinct candidate pairs within buckets of sorted texts (from one bound to the next).

    All pairs of a bucket of up to `all_pairs` texts. In a larger bucket each text is paired with
    the first `num_pivots` texts and with its neighbour, which connects a set of similar texts.
    """
    max_pairs = 0
    for bucket in range(bounds.size - 1):
        size = bounds[bucket + 1] - bounds[bucket]
        if size <= all_pairs:
            max_pairs += size * (size - 1) // 2
        else:
            max_pairs += (num_pivots + 1) * size
    table_size = 4
    while table_size < 2 * max_pairs:
        table_size *= 2
    left = np.empty(max_pairs, dtype=np.uint64)
    right = np.empty(max_pairs, dtype=np.uint64)
    table = np.full(table_size, -1, dtype=np.int64)
    count = 0
    for bucket in range(bounds.size - 1):
        start, end = bounds[bucket], bounds[bucket + 1]
        for first in range(start, end):
            last = end
            if end - start > all_pairs and first - start >= num_pivots:
                last = min(end, first + 2)
            for second in range(first + 1, last):
                left_text, right_text = texts[first], texts[second]
                slot = np.int64(_splitmix64(left_text * _FACTOR + right_text)) & (table_size - 1)
                while table[slot] >= 0 and (
                    left[table[slot]] != left_text or right[table[slot]] != right_text
                ):
                    slot = (slot + 1) & (table_size - 1)
                if table[slot] < 0:
                    table[slot] = count
                    left[count], right[count] = left_text, right_text
                    count += 1
    return left[:count], right[:count]


@kernel
def union_find(left: Ints, right: Ints, parents: Ints) -> None:
    """Union-find over edges: set each node's parent to the smallest node of its component."""
    for pair in range(left.size):
        left_root, right_root = left[pair], right[pair]
        while parents[left_root] != left_root:
            parents[left_root] = parents[parents[left_root]]  # path halving
            left_root = parents[left_root]
        while parents[right_root] != right_root:
            parents[right_root] = parents[parents[right_root]]
            right_root = parents[right_root]
        parents[max(left_root, right_root)] = min(left_root, right_root)
    for node in range(parents.size):
        # A parent is never larger than its child, so the parent's root is final by now.
        parents[node] = parents[parents[node]]
