"""Prefilter of contamination: which texts of a column may contain a benchmark problem.

One pass over a text in lower case searches three kinds of hashes:

- the first `window_bytes` of a problem text without white space: multi-pattern search with a shift
  table (Wu and Manber 1994), which reads about every thirtieth byte;
- n-grams of words;
- windows of a description's words, as in `renamed_identifiers`.

There are no false negatives; the matchers of `prefilter` and `renamed_identifiers` reject false
positives.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.characters import SPACE, kind_at, kinds, width
from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.decontamination.token_scan import (
    WORD_FACTOR,
    Shapes,
    has_shape,
    letter_run_codes,
    word_code,
)
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel

Mask = npt.NDArray[np.bool_]

BLOCK_BYTES = 8  # bytes of a block of the shift table
_NGRAM_FACTOR = np.uint64(0xD1342543DE82EF95)
_MIN_SHIFT_BITS, _MAX_SHIFT_BITS = 16, 20  # 64 KB fit in a processor's L2 cache
_BITS = 18  # 32 KB fit in a processor's L1 cache
_MAX_WORDS = 64


_WORD, _SPACE, _LETTER = 1, 2, 4


def _byte_kinds() -> Bytes:
    """Classes of bytes as bits, consistent with `hashing.word_spans` and, for ASCII, `re`."""
    byte_kinds = np.full(256, _WORD, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        byte_kinds[byte] = (
            (char.isalnum() or char == "_") * _WORD
            | char.isspace() * _SPACE
            | char.isalpha() * _LETTER
        )
    return byte_kinds


_BYTE_KINDS = _byte_kinds()


class Prefilter(NamedTuple):
    """The search tables. Memory: a number per n-gram and window, at most 1 MB of tables."""

    window_bytes: int
    window_hashes: Hashes  # sorted
    shifts: Bytes  # by hash of a block: how far the search may skip
    ngram_words: int
    min_ngram_chars: int
    ngram_hashes: Hashes  # sorted
    ngram_bits: Bytes

    @classmethod
    def of(
        cls,
        needles: Iterable[bytes],
        texts: Iterable[bytes],
        *,
        window_bytes: int,
        ngram_words: int,
        min_ngram_chars: int,
    ) -> "Prefilter":
        """Build the tables from `needles` (texts without white space) and the n-grams of `texts`.

        ValueError if a needle is shorter than `window_bytes`.
        """
        windows = sorted({needle[:window_bytes] for needle in needles})
        if any(len(window) < window_bytes for window in windows):
            raise ValueError(f"a needle is shorter than {window_bytes} bytes")
        ngrams = [_ngrams_of(text, ngram_words, min_ngram_chars) for text in texts]
        ngram_hashes = np.unique(np.concatenate([*ngrams, np.zeros(0, np.uint64)]))
        hashes = [_window_hash(_as_array(window), 0, window_bytes) for window in windows]
        return cls(
            window_bytes,
            np.unique(np.array(hashes, dtype=np.uint64)),
            _shift_table(windows, window_bytes),
            ngram_words,
            min_ngram_chars,
            ngram_hashes,
            _bits_of(ngram_hashes),
        )


class PrefilterMasks(NamedTuple):
    """Per text: whether a matcher must be applied; it has no hits in the other texts."""

    overlap: Mask  # substrings and n-grams
    gate: Mask  # renamed programs and descriptions


def prefilter_masks(
    data: Bytes, offsets: Offsets, prefilter: Prefilter, descriptions: Shapes
) -> PrefilterMasks:
    """Search texts in lower case. Memory: 17 bytes per byte of the longest text."""
    num_texts = len(offsets) - 1
    overlap, gate = np.zeros(num_texts, dtype=np.bool_), np.zeros(num_texts, dtype=np.bool_)
    longest = int(np.diff(offsets).max(initial=0))
    stripped = np.zeros(longest + 1, np.uint8)
    ngrams, words = np.zeros(longest + 1, np.uint64), np.zeros(longest + 1, np.uint64)
    _search(data, offsets, kinds(), prefilter, descriptions, stripped, ngrams, words, overlap, gate)
    return PrefilterMasks(overlap, gate)


def _as_array(text: bytes) -> Bytes:
    return np.frombuffer(text, dtype=np.uint8)


def _shift_table(windows: list[bytes], window_bytes: int) -> Bytes:
    """By hash of a block: its distance from the nearest end of a window that contains it."""
    num_blocks = window_bytes - BLOCK_BYTES + 1
    bits = (8 * num_blocks * len(windows)).bit_length()
    bits = min(_MAX_SHIFT_BITS, max(_MIN_SHIFT_BITS, bits))
    shifts = np.full(1 << bits, min(num_blocks, 255), dtype=np.uint8)
    for window in windows:
        content = _as_array(window)
        for end in range(BLOCK_BYTES, window_bytes + 1):
            slot = _slot(content, end, len(shifts))
            shifts[slot] = min(shifts[slot], window_bytes - end)
    return shifts


def _ngrams_of(text: bytes, ngram_words: int, min_chars: int) -> Hashes:
    ngrams, words = np.zeros(len(text) + 1, np.uint64), np.zeros(len(text) + 1, np.uint64)
    count, _ = _scan_words(_as_array(text), ngram_words, min_chars, _ANY, ngrams, words)
    return ngrams[:count]


def _bits_of(hashes: Hashes) -> Bytes:
    """A bitmap of the hashes' leading bits."""
    bits = np.zeros(1 << _BITS, dtype=np.uint8)
    bits[hashes >> np.uint64(64 - _BITS)] = 1
    return np.packbits(bits, bitorder="little")


_ANY = np.full(1 << _BITS >> 3, 0xFF, dtype=np.uint8)


@kernel
def _slot(stripped: Bytes, end: int, num_slots: int) -> Any:
    block = np.uint64(0)
    for offset in range(BLOCK_BYTES):
        block = block << np.uint64(8) | np.uint64(stripped[end - BLOCK_BYTES + offset])
    return (block * WORD_FACTOR >> np.uint64(64 - _MAX_SHIFT_BITS)) & np.uint64(num_slots - 1)


@kernel
def _search(
    data: Bytes,
    offsets: Offsets,
    kinds: Bytes,
    prefilter: Prefilter,
    descriptions: Shapes,
    stripped: Bytes,
    ngrams: Hashes,
    words: Hashes,
    overlap: Mask,
    gate: Mask,
) -> None:
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        num_stripped = _strip_spaces(text, kinds, stripped)
        num_ngrams, num_words = _scan_words(
            text,
            prefilter.ngram_words,
            prefilter.min_ngram_chars,
            prefilter.ngram_bits,
            ngrams,
            words,
        )
        gate[row] = has_shape(words[:num_words], descriptions)
        overlap[row] = _contains_any(ngrams[:num_ngrams], prefilter.ngram_hashes) or _has_window(
            stripped[:num_stripped],
            prefilter.window_bytes,
            prefilter.shifts,
            prefilter.window_hashes,
        )


@kernel
def _contains_any(hashes: Hashes, values: Hashes) -> bool:
    num_hits = 0
    for hashed in hashes:
        num_hits += _contains(hashed, values)
    return num_hits > 0


@kernel
def _contains(hashed: Any, values: Hashes) -> bool:
    index = np.searchsorted(values, hashed)
    return bool(index < len(values) and values[index] == hashed)


@kernel
def _strip_spaces(text: Bytes, kinds: Bytes, stripped: Bytes) -> int:
    """Copy a text without white space; return the number of bytes."""
    num_stripped = 0
    for offset in range(len(text)):
        byte = text[offset]
        is_kept = _BYTE_KINDS[byte] & _SPACE == 0
        if byte >= 0x80:
            if byte >= 0xC2 and kind_at(text, offset, kinds) & SPACE:
                is_kept = False  # and its continuation bytes
            elif byte < 0xC0 and _is_continuation_of_space(text, offset, kinds):
                is_kept = False
        stripped[num_stripped] = byte
        num_stripped += is_kept
    return num_stripped


@kernel
def _window_hash(stripped: Bytes, start: int, size: int) -> Any:
    hashed = np.uint64(0)
    for offset in range(start, start + size):
        hashed = hashed * WORD_FACTOR + np.uint64(stripped[offset]) + np.uint64(1)
    return hashed


@kernel
def _has_window(stripped: Bytes, size: int, shifts: Bytes, windows: Hashes) -> bool:
    end = size
    while end <= len(stripped):
        shift = shifts[_slot(stripped, end, len(shifts))]
        if shift == 0:
            if _contains(_window_hash(stripped, end - size, size), windows):
                return True
            end += 1
        else:
            end += shift
    return False


@kernel
def _scan_words(
    text: Bytes, ngram_words: int, min_chars: int, bits: Bytes, ngrams: Hashes, words: Hashes
) -> tuple[int, int]:
    """Write the hashes of n-grams whose bits are set, and the codes of a description's words.

    Return the numbers of both. Words of n-grams may contain digits and `_`, words of descriptions
    letters only.
    """
    num_ngrams = num_words = num_codes = slot = ngram_size = offset = 0
    last_power, ngram = np.uint64(1), np.uint64(0)
    for _ in range(ngram_words):
        last_power *= _NGRAM_FACTOR
    ring = np.zeros(_MAX_WORDS, dtype=np.uint64)
    sizes = np.zeros(_MAX_WORDS, dtype=np.int64)
    while offset < len(text):
        start, word, common_classes = offset, np.uint64(0), np.uint8(0xFF)
        while offset < len(text) and _BYTE_KINDS[text[offset]] & _WORD:
            common_classes &= _BYTE_KINDS[text[offset]]
            word = word * WORD_FACTOR + np.uint64(text[offset]) + np.uint64(1)
            offset += 1
        if offset == start:
            offset += 1
            continue
        if not common_classes & _LETTER:
            num_codes = letter_run_codes(text, start, offset, words, num_codes)
        elif offset - start > 1:
            words[num_codes] = word_code(word)
            num_codes += 1
        mixed = word ^ (word >> np.uint64(32))
        ngram = ngram * _NGRAM_FACTOR + mixed - ring[slot] * last_power
        ngram_size += offset - start - sizes[slot]
        ring[slot], sizes[slot] = mixed, offset - start
        slot = slot + 1 if slot + 1 < ngram_words else 0
        num_words += 1
        hashed = ngram * WORD_FACTOR
        if num_words >= ngram_words and ngram_size >= min_chars and _has_bit(hashed, bits):
            ngrams[num_ngrams] = hashed
            num_ngrams += 1
    return num_ngrams, num_codes


@kernel
def _has_bit(hashed: Any, bits: Bytes) -> bool:
    slot = hashed >> np.uint64(64 - _BITS)
    return bool(bits[slot >> np.uint64(3)] >> (slot & np.uint64(7)) & np.uint8(1))


@kernel
def _is_continuation_of_space(text: Bytes, offset: int, kinds: Bytes) -> bool:
    """Whether a continuation byte belongs to a white-space character."""
    while offset and text[offset] & 0xC0 == 0x80:
        offset -= 1
    return width(text[offset]) > 1 and kind_at(text, offset, kinds) & SPACE != 0
