"""What kind of character a UTF-8 byte sequence is, in kernels, as Python's `str` says."""

from functools import cache

import numpy as np

from snow_assets.curation.columns import Bytes
from snow_assets.curation.jit import kernel

LETTER, DIGIT, SPACE, UNDERSCORE = 1, 2, 4, 8
WORD = LETTER | DIGIT | UNDERSCORE  # what \w means in `re`
_PLANES = 4  # the planes above hold no letter, digit or space: tags and private use


@cache
def kinds() -> Bytes:
    """Code point -> its kinds, as bits; DIGIT is whatever is alphanumeric and no letter."""
    characters = list(map(chr, range(_PLANES << 16)))
    letters = np.fromiter(map(str.isalpha, characters), np.bool_, len(characters))
    alphanumeric = np.fromiter(map(str.isalnum, characters), np.bool_, len(characters))
    spaces = np.fromiter(map(str.isspace, characters), np.bool_, len(characters))
    found = letters * np.uint8(LETTER) + (alphanumeric & ~letters) * np.uint8(DIGIT)
    found = (found + spaces * np.uint8(SPACE)).astype(np.uint8)
    found[ord("_")] = UNDERSCORE
    return found


@kernel
def width(first: int) -> int:
    """Bytes of the character whose first byte this is."""
    if first < 0x80:
        return 1
    if first < 0xE0:
        return 2
    return 3 if first < 0xF0 else 4


@kernel
def kind_at(text: Bytes, place: int, kinds: Bytes) -> int:
    """The kinds of the character whose first byte stands at `place`."""
    first = np.int64(text[place])
    if first < 0x80:
        return int(kinds[first])
    if first < 0xE0:
        return int(kinds[(first & 0x1F) << 6 | (text[place + 1] & 0x3F)])
    if first < 0xF0:
        middle = np.int64(text[place + 1] & 0x3F) << 6
        return int(kinds[(first & 0x0F) << 12 | middle | (text[place + 2] & 0x3F)])
    code = (first & 0x07) << 18 | np.int64(text[place + 1] & 0x3F) << 12
    code |= np.int64(text[place + 2] & 0x3F) << 6 | (text[place + 3] & 0x3F)
    return int(kinds[code]) if code < len(kinds) else 0


@kernel
def is_word_boundary(text: Bytes, place: int, kinds: Bytes) -> bool:
    """What `\\b` asks: a word character on one side of `place` only."""
    before = False
    if place:
        last = place - 1
        while text[last] & 0xC0 == 0x80:
            last -= 1
        before = kind_at(text, last, kinds) & WORD != 0
    return before != (place < len(text) and kind_at(text, place, kinds) & WORD != 0)
