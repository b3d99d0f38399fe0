"""Which texts of a column may quote a problem: one pass over their bytes.

Two kinds of run are looked up by hash: of n words, and of `window` bytes of the text without white
space. A hash that is found says "perhaps", and `contamination.hits` says yes or no.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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
    num_windows, num_runs = _hashes(data, kinds(), window, words, min_chars, room)
    return room[0, :num_windows], room[1, :num_runs]


def _distinct(hashes: list[Hashes]) -> Hashes:
    return np.unique(np.concatenate([*hashes, np.zeros(0, dtype=np.uint64)]))


def may_quote(data: Bytes, offsets: Offsets, quotes: Quotes) -> npt.NDArray[np.bool_]:
    """For each text, in lower case: False only where nothing of `quotes` stands in it."""
    longest = int(np.diff(offsets).max(initial=0))
    found = np.zeros(len(offsets) - 1, dtype=np.bool_)
    room = np.zeros((2, longest + 1), dtype=np.uint64)
    _look(
        data, offsets, kinds(), quotes.window, quotes.words, quotes.min_chars,
        _bits(quotes.windows), _bits(quotes.runs), quotes.windows, quotes.runs, room, found,
    )  # fmt: skip
    return found


def _bits(hashes: Hashes) -> Bytes:
    """A bit per beginning of a hash."""
    made = np.zeros(1 << _BITS, dtype=np.uint8)
    made[hashes >> np.uint64(64 - _BITS)] = 1
    return np.packbits(made, bitorder="little")


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
        counts = _hashes(text, kinds, window, words, min_chars, room)
        found[row] = _any_in(room[0, : counts[0]], window_bits, windows) or _any_in(
            room[1, : counts[1]], run_bits, runs
        )


@kernel
def _any_in(hashes: Hashes, bits: Bytes, values: Hashes) -> bool:
    for hashed in hashes:
        place = hashed >> np.uint64(64 - _BITS)
        if bits[place >> np.uint64(3)] >> (place & np.uint64(7)) & 1:
            at = np.searchsorted(values, hashed)
            if at < len(values) and values[at] == hashed:
                return True
    return False


@kernel
def _hashes(
    text: Bytes, kinds: Bytes, window: int, words: int, min_chars: int, room: Hashes
) -> tuple[int, int]:
    """Into room[0] a hash per window, into room[1] one per run of words; how many of each."""
    last_power, last_word_power = np.uint64(1), np.uint64(1)
    for _ in range(window):
        last_power *= _FACTOR
    for _ in range(words):
        last_word_power *= _WORD_FACTOR
    ring = np.zeros(_MOST_WORDS, dtype=np.uint64)
    sizes = np.zeros(_MOST_WORDS, dtype=np.int64)
    bare = np.zeros(len(text), dtype=np.uint8)
    num_bare = num_windows = num_runs = num_words = word_size = run_size = 0
    rolling = word = run = np.uint64(0)
    for place in range(len(text) + 1):
        byte = text[place] if place < len(text) else np.uint8(0x20)
        kind = _BYTE_KINDS[byte]
        if kind & 1:
            word = word * _FACTOR + np.uint64(byte) + np.uint64(1)
            word_size += 1
        elif word_size:
            mixed = word ^ (word >> np.uint64(32))
            slot = num_words % words
            run = run * _WORD_FACTOR + mixed - ring[slot] * last_word_power
            run_size += word_size - sizes[slot]
            ring[slot], sizes[slot] = mixed, word_size
            num_words += 1
            word, word_size = np.uint64(0), 0
            if num_words >= words and run_size >= min_chars:
                room[1, num_runs] = run * _FACTOR
                num_runs += 1
        if place == len(text) or kind & 2:
            continue
        if byte >= 0xC2 and kind_at(text, place, kinds) & SPACE:
            continue  # its later bytes are left out below
        if byte & 0xC0 == 0x80 and _is_in_space(text, place, kinds):
            continue
        bare[num_bare] = byte
        rolling = rolling * _FACTOR + np.uint64(byte) + np.uint64(1)
        if num_bare >= window:
            rolling -= (np.uint64(bare[num_bare - window]) + np.uint64(1)) * last_power
        num_bare += 1
        if num_bare >= window:
            room[0, num_windows] = (rolling ^ (rolling >> np.uint64(29))) * _FACTOR
            num_windows += 1
    return num_windows, num_runs


@kernel
def _is_in_space(text: Bytes, place: int, kinds: Bytes) -> bool:
    """Whether a later byte belongs to a character that is white space."""
    while place and text[place] & 0xC0 == 0x80:
        place -= 1
    return width(text[place]) > 1 and kind_at(text, place, kinds) & SPACE != 0
