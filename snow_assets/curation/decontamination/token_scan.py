"""Compiled tokenizer of programs and descriptions, for `renamed_identifiers`.

Time is linear in a text's bytes for any input: the end of an unterminated string or comment is
searched once, not from each quote.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.jit import kernel

Spans = npt.NDArray[np.int64]

NAME, FIXED, OTHER = 1, 2, 0  # an identifier; a keyword or builtin name; a number or a symbol

WORD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WINDOW_FACTOR = np.uint64(0xD1342543DE82EF95)
_NAME_CODE = np.uint64(0x2545F4914F6CDD1D)
_MAX_BITS = 18  # 32 KB fit in a processor's L1 cache
_BITS_PER_HASH = 32

_WORD, _DIGIT, _SYMBOL, _LETTER, _BEGIN = 1, 2, 4, 8, 16


def _byte_classes() -> Bytes:
    classes = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        char = chr(byte)
        is_word = byte >= 0x80 or char.isalnum() or char == "_"
        # Line continuations (`\\`) and `;` are optional, and so are ignored.
        is_symbol = 0x21 <= byte < 0x7F and not is_word and char not in "\\;"
        is_letter = byte < 0x80 and char.isalpha()
        is_digit = byte < 0x80 and char.isdigit()
        may_begin = char in "\"'#/"  # a string or a comment
        classes[byte] = (
            is_word * _WORD
            | is_digit * _DIGIT
            | is_symbol * _SYMBOL
            | is_letter * _LETTER
            | may_begin * _BEGIN
        )
    return classes


_BYTE_CLASSES = _byte_classes()


@kernel
def word_code(value: Any) -> Any:
    """The code of a word, from the polynomial in `WORD_FACTOR` of its bytes + 1."""
    hashed = np.uint64(value)
    hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashed ^ (hashed >> np.uint64(31))


@kernel
def _contains(hashed: Any, bits: Bytes, values: Hashes) -> bool:
    slot = (hashed >> np.uint64(64 - _MAX_BITS)) & np.uint64(8 * len(bits) - 1)
    if not bits[slot >> np.uint64(3)] >> (slot & np.uint64(7)) & 1:
        return False
    index = np.searchsorted(values, hashed)
    return bool(index < len(values) and values[index] == hashed)


def bits_of(hashes: Hashes) -> Bytes:
    """A bitmap of hashes; its size is a power of two, large enough to be sparse."""
    size = min(1 << _MAX_BITS, max(8, 1 << (_BITS_PER_HASH * len(hashes)).bit_length()))
    bits = np.zeros(size, dtype=np.uint8)
    bits[(hashes >> np.uint64(64 - _MAX_BITS)) & np.uint64(size - 1)] = 1
    return np.packbits(bits, bitorder="little")


def _symbol_codes() -> Hashes:
    return np.array([word_code(byte + 1) for byte in range(256)], dtype=np.uint64)


_SYMBOL_CODES = _symbol_codes()


@kernel
def _string_end(text: Bytes, start: int) -> int:
    """The offset after the closing quote of the string at `start`; if unterminated, -(its end)."""
    quote, offset = text[start], start + 1
    while offset < len(text):
        byte = text[offset]
        if byte == quote:
            return offset + 1
        if byte == 0x0A:
            return -offset
        offset += 2 if byte == 0x5C else 1
    return -len(text)


@kernel
def _last_comment_end(text: Bytes) -> int:
    """The offset of the last `*/`, or -1."""
    for offset in range(len(text) - 2, -1, -1):
        if text[offset] == 0x2A and text[offset + 1] == 0x2F:
            return offset
    return -1


@kernel
def program_tokens(
    text: Bytes, fixed: Hashes, fixed_bits: Bytes, codes: Hashes, kinds: Bytes, spans: Spans
) -> int:
    """Write code, kind and (start, end) of each token; return the number of tokens.

    The buffers need a row per byte of the text; `spans` without rows is not written.
    """
    with_spans = len(spans) > 0
    count = offset = broken_single = broken_double = 0
    last_end = _last_comment_end(text)
    while offset < len(text):
        byte = text[offset]
        kind = _BYTE_CLASSES[byte]
        start = offset
        if kind & _WORD:
            word = np.uint64(0)
            while offset < len(text) and _BYTE_CLASSES[text[offset]] & _WORD:
                word = word * WORD_FACTOR + np.uint64(text[offset]) + np.uint64(1)
                offset += 1
            codes[count] = word_code(word)
            if kind & _DIGIT:
                kinds[count] = OTHER
            else:
                kinds[count] = FIXED if _contains(codes[count], fixed_bits, fixed) else NAME
            if with_spans:
                spans[count, 0], spans[count, 1] = start, offset
            count += 1
            continue
        offset += 1
        if kind & _BEGIN:
            following = text[offset] if offset < len(text) else np.uint8(0)
            if byte in (0x22, 0x27):
                if following == byte and offset + 1 < len(text) and text[offset + 1] == byte:
                    offset += 2
                    continue
                broken = broken_double if byte == 0x22 else broken_single
                if start >= broken:
                    end = _string_end(text, start)
                    if end >= 0:
                        byte, offset = np.uint8(0x22), end
                    elif byte == 0x22:
                        broken_double = -end
                    else:
                        broken_single = -end
            elif byte == 0x23 or following == 0x2F:
                while offset < len(text) and text[offset] != 0x0A:
                    offset += 1
                continue
            elif following == 0x2A and start + 2 <= last_end:
                offset += 1
                while not (text[offset] == 0x2A and text[offset + 1] == 0x2F):
                    offset += 1
                offset += 2
                continue
        if kind & _SYMBOL:
            codes[count], kinds[count] = _SYMBOL_CODES[byte], OTHER
            if with_spans:
                spans[count, 0], spans[count, 1] = start, offset
            count += 1
    return count


@kernel
def description_tokens(text: Bytes, codes: Hashes, kinds: Bytes, spans: Spans) -> int:
    """Tokens of a description in lower case: its words of two letters or more."""
    count = offset = 0
    while offset < len(text):
        start, word = offset, np.uint64(0)
        while offset < len(text) and _BYTE_CLASSES[text[offset]] & _LETTER:
            word = word * WORD_FACTOR + np.uint64(text[offset]) + np.uint64(1)
            offset += 1
        if offset - start > 1:
            codes[count], kinds[count] = word_code(word), FIXED
            spans[count, 0], spans[count, 1] = start, offset
            count += 1
        offset += offset == start
    return count


@kernel
def letter_run_codes(text: Bytes, start: int, end: int, codes: Hashes, count: int) -> int:
    """Append the codes of `description_tokens` of text[start:end]; return the new count."""
    offset = start
    while offset < end:
        start, word = offset, np.uint64(0)
        while offset < end and _BYTE_CLASSES[text[offset]] & _LETTER:
            word = word * WORD_FACTOR + np.uint64(text[offset]) + np.uint64(1)
            offset += 1
        if offset - start > 1:
            codes[count] = word_code(word)
            count += 1
        offset += offset == start
    return count


@kernel
def shape_hashes(codes: Hashes, kinds: Bytes, length: int, hashes: Hashes) -> int:
    """Hash each window of `length` tokens with all names equal; return the number of windows."""
    last_power, rolling = np.uint64(1), np.uint64(0)
    for _ in range(length):
        last_power *= _WINDOW_FACTOR
    for index in range(len(codes)):
        rolling = rolling * _WINDOW_FACTOR + (_NAME_CODE if kinds[index] == NAME else codes[index])
        if index >= length:
            leaving = index - length
            rolling -= last_power * (_NAME_CODE if kinds[leaving] == NAME else codes[leaving])
        if index >= length - 1:
            hashes[index - length + 1] = rolling * WORD_FACTOR
    return max(0, len(codes) - length + 1)


@kernel
def indices_in(hashes: Hashes, bits: Bytes, values: Hashes, indices: npt.NDArray[np.int64]) -> int:
    """Write the indices of the hashes that are in sorted `values`; return their number."""
    count = 0
    for index in range(len(hashes)):
        if _contains(hashes[index], bits, values):
            indices[count] = index
            count += 1
    return count


class Shapes(NamedTuple):
    """The shapes of windows of two lengths (in tokens), and a bitmap of them."""

    long: int
    short: int
    hashes: Hashes  # sorted
    bits: Bytes

    @classmethod
    def of(cls, hashes: Iterable[int], *, long: int, short: int) -> "Shapes":
        values = np.array(sorted(hashes), np.uint64)
        return cls(long, short, values, bits_of(values))


@kernel
def has_shape(codes: Hashes, shapes: Shapes) -> bool:
    """Whether the shape hash of a window of either length is in `shapes`."""
    long, short = shapes.long, shapes.short
    long_power, short_power = np.uint64(1), np.uint64(1)
    for _ in range(long):
        long_power *= _WINDOW_FACTOR
    for _ in range(short):
        short_power *= _WINDOW_FACTOR
    rolling = rolling_short = np.uint64(0)
    for index in range(len(codes)):
        rolling = rolling * _WINDOW_FACTOR + codes[index]
        rolling_short = rolling_short * _WINDOW_FACTOR + codes[index]
        if index >= long:
            rolling -= long_power * codes[index - long]
        if index >= short:
            rolling_short -= short_power * codes[index - short]
        if index >= short - 1 and _contains(
            rolling_short * WORD_FACTOR, shapes.bits, shapes.hashes
        ):
            return True
        if index >= long - 1 and _contains(rolling * WORD_FACTOR, shapes.bits, shapes.hashes):
            return True
    return False


@kernel
def flag_programs(
    data: Bytes,
    offsets: Offsets,
    fixed: Hashes,
    fixed_bits: Bytes,
    shapes: Shapes,
    flags: npt.NDArray[np.bool_],
) -> None:
    """Set the flag of each text that has a window with one of the `shapes`.

    Memory: 9 bytes per byte of the longest text.
    """
    longest = 0
    for row in range(len(flags)):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes, kinds = np.zeros(longest + 1, np.uint64), np.zeros(longest + 1, np.uint8)
    no_spans = np.zeros((0, 2), np.int64)
    for row in range(len(flags)):
        text = data[offsets[row] : offsets[row + 1]]
        count = program_tokens(text, fixed, fixed_bits, codes, kinds, no_spans)
        for index in range(count):
            if kinds[index] == NAME:
                codes[index] = _NAME_CODE
        flags[row] = has_shape(codes[:count], shapes)
