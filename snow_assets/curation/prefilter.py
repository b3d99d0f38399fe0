"""Prefilter of contamination: which texts of a column may quote a benchmark problem.

One pass over a text in lower case looks for three things by hash:

- the first `window_bytes` of a problem text without white space: multi-pattern search with a shift
  table (Wu and Manber 1994), which reads about every thirtieth byte;
- n-grams of words;
- windows of a description's words, as `renamed` compares them.

A hash that agrees says "perhaps"; the matchers of `contamination` and `renamed` decide.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.characters import SPACE, kind_at, kinds, width
from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel
from snow_assets.curation.token_scan import (
    WORD_FACTOR,
    Shapes,
    has_shape,
    letter_run_codes,
    word_code,
)

Mask = npt.NDArray[np.bool_]

BLOCK_BYTES = 8  # what the shift table is asked about at once
_NGRAM_FACTOR = np.uint64(0xD1342543DE82EF95)
_MIN_SHIFT_BITS, _MAX_SHIFT_BITS = 16, 20  # 64 KB stay in a processor's second cache
_BITS = 18  # 32 KB: a processor's first cache holds it
_MAX_WORDS = 64


_WORD, _SPACE, _LETTER = 1, 2, 4


def _byte_kinds() -> Bytes:
    """What a byte is, as `hashing.word_spans` and `re` have it for ASCII."""
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
    """What is searched for. Memory: a number per n-gram and window, at most 1 MB of tables."""

    window_bytes: int
    window_hashes: Hashes  # sorted
    shifts: Bytes  # by hash of a block: how far the search may go on
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
        """`needles` are texts without white space; `texts` are those to take n-grams of.

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


class Suspects(NamedTuple):
    """Per text: whether a matcher must look at it. It finds nothing in the others."""

    quotes: Mask  # substrings and n-grams
    leaks: Mask  # renamed programs and descriptions


def suspects_of(
    data: Bytes, offsets: Offsets, prefilter: Prefilter, descriptions: Shapes
) -> Suspects:
    """Search texts in lower case. Memory: 17 bytes per byte of the longest text."""
    num_texts = len(offsets) - 1
    quotes, leaks = np.zeros(num_texts, dtype=np.bool_), np.zeros(num_texts, dtype=np.bool_)
    longest = int(np.diff(offsets).max(initial=0))
    bare = np.zeros(longest + 1, np.uint8)
    ngrams, words = np.zeros(longest + 1, np.uint64), np.zeros(longest + 1, np.uint64)
    _search(data, offsets, kinds(), prefilter, descriptions, bare, ngrams, words, quotes, leaks)
    return Suspects(quotes, leaks)


def _as_array(text: bytes) -> Bytes:
    return np.frombuffer(text, dtype=np.uint8)


def _shift_table(windows: list[bytes], window_bytes: int) -> Bytes:
    """By hash of a block: its distance from the nearest end of a window that holds it."""
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
    """A bit per beginning of a hash."""
    bits = np.zeros(1 << _BITS, dtype=np.uint8)
    bits[hashes >> np.uint64(64 - _BITS)] = 1
    return np.packbits(bits, bitorder="little")


_ANY = np.full(1 << _BITS >> 3, 0xFF, dtype=np.uint8)


@kernel
def _slot(bare: Bytes, end: int, num_slots: int) -> Any:
    block = np.uint64(0)
    for offset in range(BLOCK_BYTES):
        block = block << np.uint64(8) | np.uint64(bare[end - BLOCK_BYTES + offset])
    return (block * WORD_FACTOR >> np.uint64(64 - _MAX_SHIFT_BITS)) & np.uint64(num_slots - 1)


@kernel
def _search(
    data: Bytes,
    offsets: Offsets,
    kinds: Bytes,
    prefilter: Prefilter,
    descriptions: Shapes,
    bare: Bytes,
    ngrams: Hashes,
    words: Hashes,
    quotes: Mask,
    leaks: Mask,
) -> None:
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        num_bare = _strip_spaces(text, kinds, bare)
        num_ngrams, num_words = _scan_words(
            text,
            prefilter.ngram_words,
            prefilter.min_ngram_chars,
            prefilter.ngram_bits,
            ngrams,
            words,
        )
        leaks[row] = has_shape(words[:num_words], descriptions)
        quotes[row] = _any_in(ngrams[:num_ngrams], prefilter.ngram_hashes) or _has_window(
            bare[:num_bare], prefilter.window_bytes, prefilter.shifts, prefilter.window_hashes
        )


@kernel
def _any_in(hashes: Hashes, values: Hashes) -> bool:
    num_hits = 0
    for hashed in hashes:
        num_hits += _is_in(hashed, values)
    return num_hits > 0


@kernel
def _is_in(hashed: Any, values: Hashes) -> bool:
    at = np.searchsorted(values, hashed)
    return bool(at < len(values) and values[at] == hashed)


@kernel
def _strip_spaces(text: Bytes, kinds: Bytes, bare: Bytes) -> int:
    """Copy a text without its white space; returns how many bytes are left."""
    num_bare = 0
    for place in range(len(text)):
        byte = text[place]
        is_bare = _BYTE_KINDS[byte] & _SPACE == 0
        if byte >= 0x80:
            if byte >= 0xC2 and kind_at(text, place, kinds) & SPACE:
                is_bare = False  # and its later bytes
            elif byte < 0xC0 and _is_in_space(text, place, kinds):
                is_bare = False
        bare[num_bare] = byte
        num_bare += is_bare
    return num_bare


@kernel
def _window_hash(bare: Bytes, start: int, size: int) -> Any:
    hashed = np.uint64(0)
    for place in range(start, start + size):
        hashed = hashed * WORD_FACTOR + np.uint64(bare[place]) + np.uint64(1)
    return hashed


@kernel
def _has_window(bare: Bytes, size: int, shifts: Bytes, windows: Hashes) -> bool:
    end = size
    while end <= len(bare):
        shift = shifts[_slot(bare, end, len(shifts))]
        if shift == 0:
            if _is_in(_window_hash(bare, end - size, size), windows):
                return True
            end += 1
        else:
            end += shift
    return False


@kernel
def _scan_words(
    text: Bytes, ngram_words: int, min_chars: int, bits: Bytes, ngrams: Hashes, words: Hashes
) -> tuple[int, int]:
    """Fill in the hashes of n-grams whose bits are set, and the codes of a description's words.

    Returns how many of each. A word of an n-gram may hold digits and `_`, one of a description
    letters only.
    """
    num_ngrams = num_words = num_codes = slot = ngram_size = place = 0
    last_power, ngram = np.uint64(1), np.uint64(0)
    for _ in range(ngram_words):
        last_power *= _NGRAM_FACTOR
    ring = np.zeros(_MAX_WORDS, dtype=np.uint64)
    sizes = np.zeros(_MAX_WORDS, dtype=np.int64)
    while place < len(text):
        start, word, common = place, np.uint64(0), np.uint8(0xFF)
        while place < len(text) and _BYTE_KINDS[text[place]] & _WORD:
            common &= _BYTE_KINDS[text[place]]
            word = word * WORD_FACTOR + np.uint64(text[place]) + np.uint64(1)
            place += 1
        if place == start:
            place += 1
            continue
        if not common & _LETTER:
            num_codes = letter_run_codes(text, start, place, words, num_codes)
        elif place - start > 1:
            words[num_codes] = word_code(word)
            num_codes += 1
        mixed = word ^ (word >> np.uint64(32))
        ngram = ngram * _NGRAM_FACTOR + mixed - ring[slot] * last_power
        ngram_size += place - start - sizes[slot]
        ring[slot], sizes[slot] = mixed, place - start
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
def _is_in_space(text: Bytes, place: int, kinds: Bytes) -> bool:
    """Whether a later byte belongs to a character that is white space."""
    while place and text[place] & 0xC0 == 0x80:
        place -= 1
    return width(text[place]) > 1 and kind_at(text, place, kinds) & SPACE != 0
