"""The tokens of a program or a description in compiled code, for `renamed`.

One pass over a text's bytes, whatever it holds: what is never closed (a string, a comment) is
looked for once and not again from each of its quotes.
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
_MAX_BITS = 18  # 32 KB: a processor's first cache holds it
_BITS_PER_HASH = 32

_WORD, _DIGIT, _SYMBOL, _LETTER, _BEGIN = 1, 2, 4, 8, 16


def _byte_classes() -> Bytes:
    classes = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        char = chr(byte)
        is_word = byte >= 0x80 or char.isalnum() or char == "_"
        # A line may be continued and ended by `\\` and `;` or not.
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
    """The code of a word from the polynomial in `WORD_FACTOR` of its bytes + 1."""
    hashed = np.uint64(value)
    hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashed ^ (hashed >> np.uint64(31))


@kernel
def _is_in(hashed: Any, bits: Bytes, values: Hashes) -> bool:
    place = (hashed >> np.uint64(64 - _MAX_BITS)) & np.uint64(8 * len(bits) - 1)
    if not bits[place >> np.uint64(3)] >> (place & np.uint64(7)) & 1:
        return False
    at = np.searchsorted(values, hashed)
    return bool(at < len(values) and values[at] == hashed)


def bits_of(hashes: Hashes) -> Bytes:
    """A bit per hash in a table whose size is a power of two, as small as has few bits set."""
    size = min(1 << _MAX_BITS, max(8, 1 << (_BITS_PER_HASH * len(hashes)).bit_length()))
    bits = np.zeros(size, dtype=np.uint8)
    bits[(hashes >> np.uint64(64 - _MAX_BITS)) & np.uint64(size - 1)] = 1
    return np.packbits(bits, bitorder="little")


def _symbol_codes() -> Hashes:
    return np.array([word_code(byte + 1) for byte in range(256)], dtype=np.uint64)


_SYMBOL_CODES = _symbol_codes()


@kernel
def _string_end(text: Bytes, start: int) -> int:
    """Behind the quote that closes the string that starts here; -(where it breaks off) if none."""
    quote, place = text[start], start + 1
    while place < len(text):
        byte = text[place]
        if byte == quote:
            return place + 1
        if byte == 0x0A:
            return -place
        place += 2 if byte == 0x5C else 1
    return -len(text)


@kernel
def _last_comment_end(text: Bytes) -> int:
    """Where the last `*/` begins, or -1."""
    for place in range(len(text) - 2, -1, -1):
        if text[place] == 0x2A and text[place + 1] == 0x2F:
            return place
    return -1


@kernel
def program_tokens(
    text: Bytes, fixed: Hashes, fixed_bits: Bytes, codes: Hashes, kinds: Bytes, spans: Spans
) -> int:
    """Fill in a code, kind and (start, end) per token, as many as the text has bytes at most.

    `spans` without rows: none are filled in.
    """
    with_spans = len(spans) > 0
    count = place = broken_single = broken_double = 0
    last_end = _last_comment_end(text)
    while place < len(text):
        byte = text[place]
        kind = _BYTE_CLASSES[byte]
        start = place
        if kind & _WORD:
            word = np.uint64(0)
            while place < len(text) and _BYTE_CLASSES[text[place]] & _WORD:
                word = word * WORD_FACTOR + np.uint64(text[place]) + np.uint64(1)
                place += 1
            codes[count] = word_code(word)
            if kind & _DIGIT:
                kinds[count] = OTHER
            else:
                kinds[count] = FIXED if _is_in(codes[count], fixed_bits, fixed) else NAME
            if with_spans:
                spans[count, 0], spans[count, 1] = start, place
            count += 1
            continue
        place += 1
        if kind & _BEGIN:
            following = text[place] if place < len(text) else np.uint8(0)
            if byte in (0x22, 0x27):
                if following == byte and place + 1 < len(text) and text[place + 1] == byte:
                    place += 2
                    continue
                broken = broken_double if byte == 0x22 else broken_single
                if start >= broken:
                    end = _string_end(text, start)
                    if end >= 0:
                        byte, place = np.uint8(0x22), end
                    elif byte == 0x22:
                        broken_double = -end
                    else:
                        broken_single = -end
            elif byte == 0x23 or following == 0x2F:
                while place < len(text) and text[place] != 0x0A:
                    place += 1
                continue
            elif following == 0x2A and start + 2 <= last_end:
                place += 1
                while not (text[place] == 0x2A and text[place + 1] == 0x2F):
                    place += 1
                place += 2
                continue
        if kind & _SYMBOL:
            codes[count], kinds[count] = _SYMBOL_CODES[byte], OTHER
            if with_spans:
                spans[count, 0], spans[count, 1] = start, place
            count += 1
    return count


@kernel
def description_tokens(text: Bytes, codes: Hashes, kinds: Bytes, spans: Spans) -> int:
    """Likewise of a text in lower case: its words of two letters or more, each as itself."""
    count = place = 0
    while place < len(text):
        start, word = place, np.uint64(0)
        while place < len(text) and _BYTE_CLASSES[text[place]] & _LETTER:
            word = word * WORD_FACTOR + np.uint64(text[place]) + np.uint64(1)
            place += 1
        if place - start > 1:
            codes[count], kinds[count] = word_code(word), FIXED
            spans[count, 0], spans[count, 1] = start, place
            count += 1
        place += place == start
    return count


@kernel
def letter_run_codes(text: Bytes, start: int, end: int, codes: Hashes, count: int) -> int:
    """Append the codes that `description_tokens` gives a part of a text; returns how many."""
    place = start
    while place < end:
        start, word = place, np.uint64(0)
        while place < end and _BYTE_CLASSES[text[place]] & _LETTER:
            word = word * WORD_FACTOR + np.uint64(text[place]) + np.uint64(1)
            place += 1
        if place - start > 1:
            codes[count] = word_code(word)
            count += 1
        place += place == start
    return count


@kernel
def shape_hashes(codes: Hashes, kinds: Bytes, length: int, hashes: Hashes) -> int:
    """A hash per window of `length` tokens, in which all names are alike; returns how many."""
    last_power, rolling = np.uint64(1), np.uint64(0)
    for _ in range(length):
        last_power *= _WINDOW_FACTOR
    for place in range(len(codes)):
        rolling = rolling * _WINDOW_FACTOR + (_NAME_CODE if kinds[place] == NAME else codes[place])
        if place >= length:
            gone = place - length
            rolling -= last_power * (_NAME_CODE if kinds[gone] == NAME else codes[gone])
        if place >= length - 1:
            hashes[place - length + 1] = rolling * WORD_FACTOR
    return max(0, len(codes) - length + 1)


@kernel
def places_in(hashes: Hashes, bits: Bytes, values: Hashes, places: npt.NDArray[np.int64]) -> int:
    """Fill in the places of hashes that are among sorted `values`; returns how many."""
    count = 0
    for place in range(len(hashes)):
        if _is_in(hashes[place], bits, values):
            places[count] = place
            count += 1
    return count


class Shapes(NamedTuple):
    """The shapes of windows of two lengths, in tokens, and a bit table of them."""

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
    """Whether a window of either length is among the shapes, as `shape_hashes` has it."""
    long, short = shapes.long, shapes.short
    long_power, short_power = np.uint64(1), np.uint64(1)
    for _ in range(long):
        long_power *= _WINDOW_FACTOR
    for _ in range(short):
        short_power *= _WINDOW_FACTOR
    rolling = rolling_short = np.uint64(0)
    for place in range(len(codes)):
        rolling = rolling * _WINDOW_FACTOR + codes[place]
        rolling_short = rolling_short * _WINDOW_FACTOR + codes[place]
        if place >= long:
            rolling -= long_power * codes[place - long]
        if place >= short:
            rolling_short -= short_power * codes[place - short]
        if place >= short - 1 and _is_in(rolling_short * WORD_FACTOR, shapes.bits, shapes.hashes):
            return True
        if place >= long - 1 and _is_in(rolling * WORD_FACTOR, shapes.bits, shapes.hashes):
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
    """Set the flag of each text with a window of tokens whose shape is one of `shapes`.

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
        for place in range(count):
            if kinds[place] == NAME:
                codes[place] = _NAME_CODE
        flags[row] = has_shape(codes[:count], shapes)
