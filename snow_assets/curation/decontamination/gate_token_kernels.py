"""Compiled tokens of the gate: a code for each token of a program or word of a description.

The tokens are those of `program_tokens`. Nothing here is shared with `prefilter`'s kernels.
"""

from typing import Any

import numpy as np

from snow_assets.curation.columns import Bytes
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel

MIX_FACTOR = np.uint64(0xFF51AFD7ED558CCD)  # of MurmurHash3's finalizer
_MIX_FACTOR_2 = np.uint64(0xC4CEB9FE1A85EC53)
_WORD_BASE = np.uint64(0x9FB21C651E98DF25)

_QUOTE, _APOSTROPHE, _BACKSLASH, _NEWLINE = 0x22, 0x27, 0x5C, 0x0A
_SLASH, _STAR, _NUMBER_SIGN = 0x2F, 0x2A, 0x23
_SPACE, _WORD, _SYMBOL, _NOISE = 0, 1, 2, 3
_TWO_BYTES, _THREE_BYTES = 1, 2


def _classes() -> Bytes:
    """Of each byte: white space and what is ignored, part of a word, a symbol, or a symbol that
    may begin a comment or a string."""
    classes = np.full(256, _SPACE, np.uint8)
    classes[0x80:] = _WORD
    for byte in range(0x21, 0x7F):
        char = chr(byte)
        if char.isalnum() or char == "_":
            classes[byte] = _WORD
        elif char in "\"'#/":
            classes[byte] = _NOISE
        elif char not in "\\;":
            classes[byte] = _SYMBOL
    return classes


def _lower_letters() -> Bytes:
    """Of each byte the ASCII letter in lower case, else 0; of the first byte of the two other
    characters of which str.lower makes ASCII letters, how long they are."""
    letters = np.zeros(256, np.uint8)
    letters[0xC4] = _TWO_BYTES  # 0xB0: I with a dot, which becomes i and a combining dot
    letters[0xE2] = _THREE_BYTES  # 0x84 0xAA: the sign of the unit Kelvin, which becomes k
    for upper, lower in zip(range(0x41, 0x5B), range(0x61, 0x7B), strict=True):
        letters[upper] = letters[lower] = lower
    return letters


_CLASSES = _classes()
_LOWER_LETTERS = _lower_letters()


@kernel
def _mixed(value: Any) -> Any:
    hashed = np.uint64(value)
    hashed = (hashed ^ (hashed >> np.uint64(33))) * MIX_FACTOR
    hashed = (hashed ^ (hashed >> np.uint64(33))) * _MIX_FACTOR_2
    return hashed ^ (hashed >> np.uint64(33))


@kernel
def _is_fixed(code: Any, fixed: Hashes) -> bool:
    """Whether a hash table (open addressing, 0: free) holds the code."""
    mask = np.uint64(len(fixed) - 1)
    slot = code & mask
    while fixed[slot]:
        if fixed[slot] == code:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


def fixed_table(codes: Hashes) -> Hashes:
    """A hash table of codes for the kernels."""
    table = np.zeros(1 << (4 * len(codes)).bit_length(), np.uint64)
    for code in codes.tolist():
        slot = code % len(table)
        while table[slot]:
            slot = (slot + 1) % len(table)
        table[slot] = code
    return table


@kernel
def _closing_quote(text: Bytes, start: int, end: int) -> int:
    """The offset of the quote that closes the string at `start`; if there is none, -1 - the offset
    at which its line or the text ends."""
    quote, offset = text[start], start + 1
    while offset < end:
        byte = text[offset]
        if byte == quote:
            return offset
        if byte == _NEWLINE:
            break
        if byte == _BACKSLASH:
            if offset + 1 == end:
                break
            offset += 1
        offset += 1
    return -1 - offset


@kernel
def program_codes(
    text: Bytes, start: int, end: int, fixed: Hashes, codes: Hashes, is_name: Bytes
) -> int:
    """Write code and whether it is an identifier of each token of text[start:end]; return their
    number. Time: linear, since the end of an unterminated string or comment is searched once."""
    last_comment_end = -1
    for offset in range(end - 2, start - 1, -1):
        if text[offset] == _STAR and text[offset + 1] == _SLASH:
            last_comment_end = offset
            break
    broken_quote = broken_apostrophe = start  # quotes before it are unterminated
    count, offset = 0, start
    while offset < end:
        byte = text[offset]
        kind = _CLASSES[byte]
        if kind == _WORD:
            is_number = 0x30 <= byte <= 0x39
            hashed = np.uint64(0)
            while True:
                hashed = (hashed + np.uint64(byte) + np.uint64(1)) * _WORD_BASE
                offset += 1
                if offset == end:
                    break
                byte = text[offset]
                if _CLASSES[byte] != _WORD:
                    break
            code = _mixed(hashed)
            codes[count] = code
            is_name[count] = not is_number and not _is_fixed(code, fixed)
            count += 1
            continue
        if kind == _SPACE:
            offset += 1
            continue
        if kind == _NOISE:
            following = text[offset + 1] if offset + 1 < end else np.uint8(0)
            if byte == _NUMBER_SIGN or (byte == _SLASH and following == _SLASH):
                while offset < end and text[offset] != _NEWLINE:
                    offset += 1
                continue
            if byte == _SLASH and following == _STAR and offset + 2 <= last_comment_end:
                offset += 2
                while text[offset] != _STAR or text[offset + 1] != _SLASH:
                    offset += 1
                offset += 2
                continue
            if byte != _SLASH:
                if following == byte and offset + 2 < end and text[offset + 2] == byte:
                    offset += 3
                    continue
                broken = broken_quote if byte == _QUOTE else broken_apostrophe
                if offset >= broken:
                    closing = _closing_quote(text, offset, end)
                    if closing >= 0:
                        byte, offset = np.uint8(_QUOTE), closing
                    elif byte == _QUOTE:
                        broken_quote = -1 - closing
                    else:
                        broken_apostrophe = -1 - closing
        codes[count] = _mixed(np.uint64(byte) + np.uint64(1))
        is_name[count] = 0
        count += 1
        offset += 1
    return count


@kernel
def description_codes(text: Bytes, start: int, end: int, codes: Hashes) -> int:
    """Write the code of each word of text[start:end] in lower case, of two ASCII letters or more;
    return their number."""
    count, offset = 0, start
    while offset < end:
        letter = _LOWER_LETTERS[text[offset]]
        if letter == 0:
            offset += 1
            continue
        letters, hashed = 0, np.uint64(0)
        while letter:
            num_bytes, is_last = 1, False
            if letter == _TWO_BYTES:
                if offset + 1 < end and text[offset + 1] == 0xB0:
                    letter, num_bytes, is_last = np.uint8(0x69), 2, True
                else:
                    break
            elif letter == _THREE_BYTES:
                if offset + 2 < end and text[offset + 1] == 0x84 and text[offset + 2] == 0xAA:
                    letter, num_bytes = np.uint8(0x6B), 3
                else:
                    break
            hashed = (hashed + np.uint64(letter)) * _WORD_BASE
            letters += 1
            offset += num_bytes
            if is_last or offset >= end:
                break
            letter = _LOWER_LETTERS[text[offset]]
        if letters > 1:
            codes[count] = _mixed(hashed)
            count += 1
        elif letters == 0:
            offset += 1
    return count
