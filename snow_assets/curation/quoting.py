"""Which texts of a column may quote a problem: one pass over their bytes.

Two kinds of run are looked up by hash: of n words, and of `window` bytes of the text without white
space. A hash that is found says "perhaps", and `contamination.hits` says yes or no.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snow_assets.curation.characters import SPACE, kind_at, kinds, width
from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WORD_FACTOR = np.uint64(0xD1342543DE82EF95)
_BITS = 18  # 32 KB: a processor's first cache holds it
_MOST_WORDS = 64


def _byte_kinds() -> Bytes:
    """1: of a word, 2: white space, as `hashing.word_spans` and `re` have it for ASCII."""
    made = np.ones(256, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        made[byte] = (char.isalnum() or char == "_") + 2 * char.isspace()
    return made


_BYTE_KINDS = _byte_kinds()


@dataclass(frozen=True)
class Quotes:
    """Hashes of what is looked for; `window` in bytes, and the words of a run that says enough."""

    windows: Hashes
    runs: Hashes
    window: int
    words: int
    min_chars: int

    @classmethod
    def of(
        cls,
        bare: Iterable[bytes],
        texts: Iterable[bytes],
        *,
        window: int,
        words: int,
        min_chars: int,
    ) -> "Quotes":
        """`bare`: first windows of what is looked for as such; `texts`: what runs are taken of."""
        if words > _MOST_WORDS:
            raise ValueError(f"ngram_words {words} exceeds {_MOST_WORDS}: lower it in the recipe")
        windows = [_hashed(text, window, words, min_chars)[0] for text in bare]
        runs = [_hashed(text, window, words, min_chars)[1] for text in texts]
        return cls(_distinct(windows), _distinct(runs), window, words, min_chars)


def _hashed(text: bytes, window: int, words: int, min_chars: int) -> tuple[Hashes, Hashes]:
    room = np.zeros((2, len(text) + 1), dtype=np.uint64)
    data = np.frombuffer(text, dtype=np.uint8)
    num_windows, num_runs = _hashes(data, kinds(), window, words, min_chars, _ANY, _ANY, room)
    return room[0, :num_windows], room[1, :num_runs]


def _distinct(hashes: list[Hashes]) -> Hashes:
    return np.unique(np.concatenate([*hashes, np.zeros(0, dtype=np.uint64)]))


def may_quote(data: Bytes, offsets: Offsets, quotes: Quotes) -> npt.NDArray[np.bool_]:
    """For each text, in lower case: False only where nothing of `quotes` stands in it."""
    longest = int(np.diff(offsets).max(initial=0))
    found = np.zeros(len(offsets) - 1, dtype=np.bool_)
    room = np.zeros((2, longest + 1), dtype=np.uint64)
    _look(
        data,
        offsets,
        kinds(),
        quotes.window,
        quotes.words,
        quotes.min_chars,
        _bits(quotes.windows),
        _bits(quotes.runs),
        quotes.windows,
        quotes.runs,
        room,
        found,
    )
    return found


def _bits(hashes: Hashes) -> Bytes:
    """A bit per beginning of a hash."""
    made = np.zeros(1 << _BITS, dtype=np.uint8)
    made[hashes >> np.uint64(64 - _BITS)] = 1
    return np.packbits(made, bitorder="little")


_ANY = np.full(1 << _BITS >> 3, 0xFF, dtype=np.uint8)


@kernel
def _look(
    data: Bytes,
    offsets: Offsets,
    kinds: Bytes,
    window: int,
    words: int,
    min_chars: int,
    window_bits: Bytes,
    run_bits: Bytes,
    windows: Hashes,
    runs: Hashes,
    room: Hashes,
    found: npt.NDArray[np.bool_],
) -> None:
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        counts = _hashes(text, kinds, window, words, min_chars, window_bits, run_bits, room)
        found[row] = _any_in(room[0, : counts[0]], windows) or _any_in(room[1, : counts[1]], runs)


@kernel
def _any_in(hashes: Hashes, values: Hashes) -> bool:
    for hashed in hashes:
        at = np.searchsorted(values, hashed)
        if at < len(values) and values[at] == hashed:
            return True
    return False


@kernel
def _has_bit(hashed: Any, bits: Bytes) -> bool:
    place = hashed >> np.uint64(64 - _BITS)
    return bool(bits[place >> np.uint64(3)] >> (place & np.uint64(7)) & np.uint8(1))


@kernel
def _hashes(
    text: Bytes,
    kinds: Bytes,
    window: int,
    words: int,
    min_chars: int,
    window_bits: Bytes,
    run_bits: Bytes,
    room: Hashes,
) -> tuple[int, int]:
    """Into room[0] hashes of windows, into room[1] those of runs of words; how many of each.

    Only those whose bits are set.
    """
    bare = np.empty(len(text) + 1, dtype=np.uint8)
    num_bare = 0
    for place in range(len(text)):
        byte = text[place]
        is_bare = _BYTE_KINDS[byte] & 2 == 0
        if byte >= 0x80:
            if byte >= 0xC2 and kind_at(text, place, kinds) & SPACE:
                is_bare = False  # and its later bytes
            elif byte < 0xC0 and _is_in_space(text, place, kinds):
                is_bare = False
        bare[num_bare] = byte
        num_bare += is_bare
    num_windows = _window_hashes(bare[:num_bare], window, window_bits, room[0])
    return num_windows, _run_hashes(text, words, min_chars, run_bits, room[1])


@kernel
def _window_hashes(bare: Bytes, window: int, bits: Bytes, hashes: Hashes) -> int:
    count = 0
    last_power, rolling = np.uint64(1), np.uint64(0)
    for _ in range(window):
        last_power *= _FACTOR
    for place in range(len(bare)):
        change = np.uint64(bare[place]) + np.uint64(1)
        if place >= window:
            change -= (np.uint64(bare[place - window]) + np.uint64(1)) * last_power
        rolling = rolling * _FACTOR + change
        hashed = (rolling ^ (rolling >> np.uint64(29))) * _FACTOR
        if _has_bit(hashed, bits) and place >= window - 1:
            hashes[count] = hashed
            count += 1
    return count


@kernel
def _run_hashes(text: Bytes, words: int, min_chars: int, bits: Bytes, hashes: Hashes) -> int:
    count = num_words = slot = run_size = place = 0
    last_power, run = np.uint64(1), np.uint64(0)
    for _ in range(words):
        last_power *= _WORD_FACTOR
    ring = np.zeros(_MOST_WORDS, dtype=np.uint64)
    sizes = np.zeros(_MOST_WORDS, dtype=np.int64)
    while place < len(text):
        start, word = place, np.uint64(0)
        while place < len(text) and _BYTE_KINDS[text[place]] & 1:
            word = word * _FACTOR + np.uint64(text[place]) + np.uint64(1)
            place += 1
        if place == start:
            place += 1
            continue
        mixed = word ^ (word >> np.uint64(32))
        run = run * _WORD_FACTOR + mixed - ring[slot] * last_power
        run_size += place - start - sizes[slot]
        ring[slot], sizes[slot] = mixed, place - start
        slot = slot + 1 if slot + 1 < words else 0
        num_words += 1
        hashed = run * _FACTOR
        if num_words >= words and run_size >= min_chars and _has_bit(hashed, bits):
            hashes[count] = hashed
            count += 1
    return count


@kernel
def _is_in_space(text: Bytes, place: int, kinds: Bytes) -> bool:
    """Whether a later byte belongs to a character that is white space."""
    while place and text[place] & 0xC0 == 0x80:
        place -= 1
    return width(text[place]) > 1 and kind_at(text, place, kinds) & SPACE != 0
