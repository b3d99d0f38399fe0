"""Character classes of UTF-8 byte sequences in kernels, equal to those of Python's `str`."""

from functools import cache

import numpy as np

from snow_assets.curation.columns import Bytes
from snow_assets.curation.jit import kernel

LETTER, DIGIT, SPACE, UNDERSCORE = 1, 2, 4, 8
WORD = LETTER | DIGIT | UNDERSCORE  # \w of `re`
_PLANES = 4  # higher planes (tags, private use) have no letter, digit or space


@cache
def kinds() -> Bytes:
    """Code point -> its classes as bits; DIGIT is alphanumeric and not a letter."""
    characters = list(map(chr, range(_PLANES << 16)))
    letters = np.fromiter(map(str.isalpha, characters), np.bool_, len(characters))
    alphanumeric = np.fromiter(map(str.isalnum, characters), np.bool_, len(characters))
    spaces = np.fromiter(map(str.isspace, characters), np.bool_, len(characters))
    table = letters * np.uint8(LETTER) + (alphanumeric & ~letters) * np.uint8(DIGIT)
    table = (table + spaces * np.uint8(SPACE)).astype(np.uint8)
    table[ord("_")] = UNDERSCORE
    return table


@kernel
def width(first: int) -> int:
    """Number of bytes of a character, from its first byte."""
    if first < 0x80:
        return 1
    if first < 0xE0:
        return 2
    return 3 if first < 0xF0 else 4


@kernel
def kind_at(text: Bytes, offset: int, kinds: Bytes) -> int:
    """The classes of the character whose first byte is at `offset`."""
    first = np.int64(text[offset])
    if first < 0x80:
        return int(kinds[first])
    if first < 0xE0:
        return int(kinds[(first & 0x1F) << 6 | (text[offset + 1] & 0x3F)])
    if first < 0xF0:
        middle = np.int64(text[offset + 1] & 0x3F) << 6
        return int(kinds[(first & 0x0F) << 12 | middle | (text[offset + 2] & 0x3F)])
    code = (first & 0x07) << 18 | np.int64(text[offset + 1] & 0x3F) << 12
    code |= np.int64(text[offset + 2] & 0x3F) << 6 | (text[offset + 3] & 0x3F)
    return int(kinds[code]) if code < len(kinds) else 0


@kernel
def is_word_boundary(text: Bytes, offset: int, kinds: Bytes) -> bool:
    """`\\b` of `re`: a word character on exactly one side of `offset`."""
    is_word_before = False
    if offset:
        previous = offset - 1
        while text[previous] & 0xC0 == 0x80:
            previous -= 1
        is_word_before = kind_at(text, previous, kinds) & WORD != 0
    return is_word_before != (offset < len(text) and kind_at(text, offset, kinds) & WORD != 0)
