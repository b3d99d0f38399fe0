"""Compiled kernels of `signals`: one or two passes over the bytes of each text of a column."""

import numpy as np
import numpy.typing as npt

from snow_assets.curation.characters import (
    SPACE,
    is_word_boundary,
    kind_at,
    kinds,
    width,
)
from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.jit import kernel

Counts = npt.NDArray[np.int64]

# Columns of the counts.
CHARS, LINES, LINE_CHARS, MAX_LINE_CHARS, LETTERS, DIGITS = 0, 1, 2, 3, 4, 5
LONGEST_ENCODED, ENCODED, LINE_BREAKS, MAY_BE_GENERATED = 6, 7, 8, 9
NUM_COUNTS = 10

_MIN_BASE64_CHARS, _MIN_HEX_BYTES, _MIN_ESCAPES = 64, 8, 8
_HEADER_LINES = 40  # that `generated` searches

# Classes of ASCII bytes, as bits; non-ASCII bytes are OTHER.
_BASE64, _HEX, _WORD, _X, _BREAK, _BACKSLASH, _OTHER = 1, 2, 4, 8, 16, 32, 64
_DIGIT_ONE = 1 << 32  # letters are counted in the lower half, digits in the upper half


def _byte_kinds() -> Bytes:
    table = np.full(256, _OTHER, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        table[byte] = (
            (char.isalnum() or char in "+/\n=") * _BASE64
            | (char in "0123456789abcdefABCDEF") * _HEX
            | (char.isalnum() or char == "_") * _WORD
            | (char == "x") * _X
            | (char in "\r\n") * _BREAK
            | (char == "\\") * _BACKSLASH
        )
    return table


def _byte_counts() -> Counts:
    table = np.zeros(256, dtype=np.int64)
    for byte in range(128):
        table[byte] = chr(byte).isalpha() + chr(byte).isdigit() * _DIGIT_ONE
    return table


_BYTE_KINDS = _byte_kinds()
_BYTE_COUNTS = _byte_counts()
_GENERATED = np.frombuffer(b"generated", dtype=np.uint8)
_MADE_BY = np.frombuffer(b"made by", dtype=np.uint8)


def count_signals(data: Bytes, offsets: Offsets) -> Counts:
    """Count the signals of valid UTF-8 texts, (texts, NUM_COUNTS)."""
    counts = np.zeros((len(offsets) - 1, NUM_COUNTS), dtype=np.int64)
    _count(data, offsets, kinds(), counts)
    return counts


@kernel
def _count(data: Bytes, offsets: Offsets, kinds: Bytes, counts: Counts) -> None:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    starts = np.zeros(longest + 1, dtype=np.int64)
    spans = np.zeros((longest // 8 + 1, 2), dtype=np.int64)  # the shortest span has 23 bytes
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        num_starts = _count_characters(text, kinds, counts[row], starts)
        num_spans = _encoded_runs(text, kinds, starts[:num_starts], spans)
        num_spans = _base64_runs(text, num_spans, spans)
        if num_spans:
            _measure_spans(text, spans[:num_spans], counts[row])
        counts[row, MAY_BE_GENERATED] = _may_be_generated(text)


@kernel
def _count_characters(text: Bytes, kinds: Bytes, counts: Counts, starts: Counts) -> int:
    """Count characters, lines and letters; record where hexadecimal bytes or escapes may begin."""
    ascii_counts = other_letters = other_digits = 0
    lines = line_chars = max_line_chars = line_breaks = num_starts = 0
    later_bytes = later_before_line = line_start = 0  # later bytes: continuation bytes
    kind_1 = kind_2 = kind_3 = 0  # classes of the last three bytes, latest first
    for offset in range(len(text)):
        byte = text[offset]
        kind = _BYTE_KINDS[byte]
        ascii_counts += _BYTE_COUNTS[byte]
        # Two hexadecimal digits that are a word or follow an x.
        if kind_1 & kind_2 & _HEX and not kind & _WORD and kind_3 & (_WORD | _X) != _WORD:
            starts[num_starts] = offset - 2
            num_starts += 1
        kind_3, kind_2, kind_1 = kind_2, kind_1, kind
        if kind < _BREAK:
            continue
        if kind == _OTHER:
            if byte & 0xC0 == 0x80:
                later_bytes += 1
            else:
                classes = kind_at(text, offset, kinds)
                other_letters += classes & 1
                other_digits += (classes >> 1) & 1
        elif kind == _BACKSLASH:
            starts[num_starts] = offset
            num_starts += offset + 1 < len(text) and text[offset + 1] == 0x75
        else:
            if byte == 0x0A and offset and text[offset - 1] == 0x0D:
                line_start = offset + 1  # the line ended at its \r
                continue
            chars = offset - line_start - (later_bytes - later_before_line)
            lines += 1
            line_breaks += 1
            line_chars += chars
            max_line_chars = max(max_line_chars, chars)
            line_start, later_before_line = offset + 1, later_bytes
    if kind_1 & kind_2 & _HEX:
        starts[num_starts] = len(text) - 2
        num_starts += 1
    if line_start < len(text):
        chars = len(text) - line_start - (later_bytes - later_before_line)
        lines += 1
        line_chars += chars
        max_line_chars = max(max_line_chars, chars)
    counts[CHARS] = len(text) - later_bytes
    counts[LINES], counts[LINE_CHARS], counts[MAX_LINE_CHARS] = lines, line_chars, max_line_chars
    counts[LETTERS] = other_letters + ascii_counts % _DIGIT_ONE
    counts[DIGITS] = other_digits + ascii_counts // _DIGIT_ONE
    counts[LINE_BREAKS] = line_breaks
    return num_starts


@kernel
def _encoded_runs(text: Bytes, kinds: Bytes, offsets: Counts, spans: Counts) -> int:
    """Spans of the runs of hexadecimal bytes and of escapes that begin at these offsets."""
    hex_end = escapes_end = num_spans = 0
    for offset in offsets:
        if text[offset] == 0x5C:
            start = offset
            if start < escapes_end:
                continue
            end = escapes_end = _escapes_end(text, start)
            if end - start < 6 * _MIN_ESCAPES:
                continue
        else:
            start, end = _hex_run(text, offset, hex_end, kinds)
            if start == end:
                continue
            hex_end = end
        spans[num_spans, 0], spans[num_spans, 1] = start, end
        num_spans += 1
    return num_spans


@kernel
def _is_hex(text: Bytes, offset: int) -> bool:
    return offset < len(text) and _BYTE_KINDS[text[offset]] & _HEX != 0


@kernel
def _escapes_end(text: Bytes, offset: int) -> int:
    """The end of the run of `\\uXXXX` that starts at `offset`."""
    while offset + 6 <= len(text) and text[offset] == 0x5C and text[offset + 1] == 0x75:
        for digit in range(2, 6):
            if not _is_hex(text, offset + digit):
                return offset
        offset += 6
    return offset


@kernel
def _hex_run(text: Bytes, digits: int, after: int, kinds: Bytes) -> tuple[int, int]:
    """Start and end of the run of hexadecimal bytes whose first digits are at `digits`.

    (after, after) if the run is too short or starts before `after`, the end of the previous run.
    Runs are unambiguous, so no backtracking is needed.
    """
    start = digits
    if start >= 2 and text[start - 1] == 0x78 and (text[start - 2] in (0x30, 0x5C)):
        start -= 2
    if start < after:
        return after, after
    units, end = 0, start
    while True:
        unit_end = _hex_unit_end(text, end, kinds)
        if unit_end < 0:
            break
        units, end = units + 1, unit_end
    if units < _MIN_HEX_BYTES:
        return after, after
    return start, end


@kernel
def _hex_unit_end(text: Bytes, offset: int, kinds: Bytes) -> int:
    """The end of the match of `\\b(0x|\\x)?HH(,|\\b\\s*)` at `offset`, or -1."""
    digits = offset
    if offset + 1 < len(text) and text[offset + 1] == 0x78 and (text[offset] in (0x30, 0x5C)):
        digits += 2
    if not _is_hex(text, digits) or not _is_hex(text, digits + 1):
        return -1
    if not is_word_boundary(text, offset, kinds):
        return -1
    end = digits + 2
    if end < len(text) and text[end] == 0x2C:
        return end + 1
    if not is_word_boundary(text, end, kinds):
        return -1
    while end < len(text) and kind_at(text, end, kinds) & SPACE:
        end += width(text[end])
    return end


@kernel
def _base64_runs(text: Bytes, num_spans: int, spans: Counts) -> int:
    """Add runs of base64 characters: test each multiple of the minimum length, and extend it."""
    offset = 0
    while offset < len(text):
        if _BYTE_KINDS[text[offset]] & _BASE64:
            start, end = offset, offset + 1
            while start and _BYTE_KINDS[text[start - 1]] & _BASE64:
                start -= 1
            while end < len(text) and _BYTE_KINDS[text[end]] & _BASE64:
                end += 1
            if end - start >= _MIN_BASE64_CHARS:
                spans[num_spans, 0], spans[num_spans, 1] = start, end
                num_spans += 1
                offset = end - end % _MIN_BASE64_CHARS
        offset += _MIN_BASE64_CHARS
    return num_spans


@kernel
def _num_chars(text: Bytes) -> int:
    count = 0
    for byte in text:
        count += byte & 0xC0 != 0x80
    return count


@kernel
def _measure_spans(text: Bytes, spans: Counts, counts: Counts) -> None:
    """Count the characters of the longest span and of the union of all spans."""
    covered_end = 0
    for index in np.argsort(spans[:, 0]):
        start, end = spans[index]
        counts[LONGEST_ENCODED] = max(counts[LONGEST_ENCODED], _num_chars(text[start:end]))
        if end > covered_end:
            counts[ENCODED] += _num_chars(text[max(start, covered_end) : end])
            covered_end = end


@kernel
def _may_be_generated(text: Bytes) -> bool:
    """Whether the first lines contain `generated` or `made by`, which all markers contain."""
    lines = 0
    for offset in range(len(text)):
        byte = text[offset]
        if byte == 0x0A:
            lines += 1
            if lines == _HEADER_LINES:
                return False
        elif (byte | 0x20) == 0x67:
            if _starts_with(text[offset:], _GENERATED):
                return True
        elif (byte | 0x20) == 0x6D and _starts_with(text[offset:], _MADE_BY):
            return True
    return False


@kernel
def _starts_with(text: Bytes, phrase: Bytes) -> bool:
    if len(text) < len(phrase):
        return False
    for index in range(len(phrase)):
        if text[index] != phrase[index] and (text[index] | 0x20) != phrase[index]:
            return False
    return True
