"""The loops behind `signals`: a pass or two over the bytes of each text of a column."""

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

# The columns of what is counted.
CHARS, LINES, LINE_CHARS, MAX_LINE_CHARS, LETTERS, DIGITS = 0, 1, 2, 3, 4, 5
LONGEST_ENCODED, ENCODED, LINE_BREAKS, MAY_BE_GENERATED = 6, 7, 8, 9
NUM_COUNTS = 10

_MIN_BASE64_CHARS, _MIN_HEX_BYTES, _MIN_ESCAPES = 64, 8, 8
_HEADER_LINES = 40  # that `generated` looks at

# What a byte is, as bits; ASCII only, for what is not is OTHER.
_BASE64, _HEX, _WORD, _X, _BREAK, _BACKSLASH, _OTHER = 1, 2, 4, 8, 16, 32, 64
_DIGIT_ONE = 1 << 32  # letters are counted below it and digits above


def _byte_kinds() -> Bytes:
    made = np.full(256, _OTHER, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        made[byte] = (
            (char.isalnum() or char in "+/\n=") * _BASE64
            | (char in "0123456789abcdefABCDEF") * _HEX
            | (char.isalnum() or char == "_") * _WORD
            | (char == "x") * _X
            | (char in "\r\n") * _BREAK
            | (char == "\\") * _BACKSLASH
        )
    return made


def _byte_counts() -> Counts:
    made = np.zeros(256, dtype=np.int64)
    for byte in range(128):
        made[byte] = chr(byte).isalpha() + chr(byte).isdigit() * _DIGIT_ONE
    return made


_BYTE_KINDS = _byte_kinds()
_BYTE_COUNTS = _byte_counts()
_GENERATED = np.frombuffer(b"generated", dtype=np.uint8)
_MADE_BY = np.frombuffer(b"made by", dtype=np.uint8)


def counted(data: Bytes, offsets: Offsets) -> Counts:
    """A row of NUM_COUNTS counts per text. The texts must be valid UTF-8."""
    counts = np.zeros((len(offsets) - 1, NUM_COUNTS), dtype=np.int64)
    _count(data, offsets, kinds(), counts)
    return counts


@kernel
def _count(data: Bytes, offsets: Offsets, kinds: Bytes, counts: Counts) -> None:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    places = np.zeros(longest + 1, dtype=np.int64)
    spans = np.zeros((longest // 8 + 1, 2), dtype=np.int64)  # the shortest span has 23 bytes
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        num_places = _walk(text, kinds, counts[row], places)
        num_spans = _runs_at(text, kinds, places[:num_places], spans)
        num_spans = _base64_runs(text, num_spans, spans)
        if num_spans:
            _cover(text, spans[:num_spans], counts[row])
        counts[row, MAY_BE_GENERATED] = _may_be_generated(text)


@kernel
def _walk(text: Bytes, kinds: Bytes, counts: Counts, places: Counts) -> int:
    """Count characters, lines and letters; note where hexadecimal bytes or escapes may begin."""
    ascii_counts = other_letters = other_digits = 0
    lines = line_chars = max_line_chars = line_breaks = num_places = 0
    later_bytes = later_before_line = line_start = 0  # later: all but a character's first byte
    one = two = three = 0  # kinds of the last bytes
    for place in range(len(text)):
        byte = text[place]
        kind = _BYTE_KINDS[byte]
        ascii_counts += _BYTE_COUNTS[byte]
        # Two hexadecimal digits that are a word, or stand after an x.
        if one & two & _HEX and not kind & _WORD and three & (_WORD | _X) != _WORD:
            places[num_places] = place - 2
            num_places += 1
        three, two, one = two, one, kind
        if kind < _BREAK:
            continue
        if kind == _OTHER:
            if byte & 0xC0 == 0x80:
                later_bytes += 1
            else:
                found = kind_at(text, place, kinds)
                other_letters += found & 1
                other_digits += (found >> 1) & 1
        elif kind == _BACKSLASH:
            places[num_places] = place
            num_places += place + 1 < len(text) and text[place + 1] == 0x75
        else:
            if byte == 0x0A and place and text[place - 1] == 0x0D:
                line_start = place + 1  # the line ended at its \r
                continue
            chars = place - line_start - (later_bytes - later_before_line)
            lines += 1
            line_breaks += 1
            line_chars += chars
            max_line_chars = max(max_line_chars, chars)
            line_start, later_before_line = place + 1, later_bytes
    if one & two & _HEX:
        places[num_places] = len(text) - 2
        num_places += 1
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
    return num_places


@kernel
def _runs_at(text: Bytes, kinds: Bytes, places: Counts, spans: Counts) -> int:
    """The runs of hexadecimal bytes and of escapes that begin at one of these places."""
    hex_end = escapes_end = num_spans = 0
    for place in places:
        if text[place] == 0x5C:
            start = place
            if start < escapes_end:
                continue
            end = escapes_end = _escapes_end(text, start)
            if end - start < 6 * _MIN_ESCAPES:
                continue
        else:
            start, end = _hex_run(text, place, hex_end, kinds)
            if start == end:
                continue
            hex_end = end
        spans[num_spans, 0], spans[num_spans, 1] = start, end
        num_spans += 1
    return num_spans


@kernel
def _is_hex(text: Bytes, place: int) -> bool:
    return place < len(text) and _BYTE_KINDS[text[place]] & _HEX != 0


@kernel
def _escapes_end(text: Bytes, place: int) -> int:
    """Where the run of `\\uXXXX` that starts at `place` ends."""
    while place + 6 <= len(text) and text[place] == 0x5C and text[place + 1] == 0x75:
        for digit in range(2, 6):
            if not _is_hex(text, place + digit):
                return place
        place += 6
    return place


@kernel
def _hex_run(text: Bytes, digits: int, after: int, kinds: Bytes) -> tuple[int, int]:
    """The run of hexadecimal bytes whose first has its digits here; `after` twice if it is short.

    There is at most one way to read a run, so no step back is needed. One that starts before
    `after`, in the last run, does not count.
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
def _hex_unit_end(text: Bytes, place: int, kinds: Bytes) -> int:
    """Where `\\b(0x|\\x)?HH(,|\\b\\s*)` ends that starts at `place`, or -1."""
    digits = place
    if place + 1 < len(text) and text[place + 1] == 0x78 and (text[place] in (0x30, 0x5C)):
        digits += 2
    if not _is_hex(text, digits) or not _is_hex(text, digits + 1):
        return -1
    if not is_word_boundary(text, place, kinds):
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
    """Add runs of base64's characters: a long enough one holds a place that the minimum divides."""
    place = 0
    while place < len(text):
        if _BYTE_KINDS[text[place]] & _BASE64:
            start, end = place, place + 1
            while start and _BYTE_KINDS[text[start - 1]] & _BASE64:
                start -= 1
            while end < len(text) and _BYTE_KINDS[text[end]] & _BASE64:
                end += 1
            if end - start >= _MIN_BASE64_CHARS:
                spans[num_spans, 0], spans[num_spans, 1] = start, end
                num_spans += 1
                place = end - end % _MIN_BASE64_CHARS
        place += _MIN_BASE64_CHARS
    return num_spans


@kernel
def _num_chars(text: Bytes) -> int:
    count = 0
    for byte in text:
        count += byte & 0xC0 != 0x80
    return count


@kernel
def _cover(text: Bytes, spans: Counts, counts: Counts) -> None:
    """The longest span, and the characters that any span covers."""
    reached = 0
    for index in np.argsort(spans[:, 0]):
        start, end = spans[index]
        counts[LONGEST_ENCODED] = max(counts[LONGEST_ENCODED], _num_chars(text[start:end]))
        if end > reached:
            counts[ENCODED] += _num_chars(text[max(start, reached) : end])
            reached = end


@kernel
def _may_be_generated(text: Bytes) -> bool:
    """Whether the head says `generated` or `made by`: `generated` looks for nothing else."""
    lines = 0
    for place in range(len(text)):
        byte = text[place]
        if byte == 0x0A:
            lines += 1
            if lines == _HEADER_LINES:
                return False
        elif (byte | 0x20) == 0x67:
            if _says(text[place:], _GENERATED):
                return True
        elif (byte | 0x20) == 0x6D and _says(text[place:], _MADE_BY):
            return True
    return False


@kernel
def _says(text: Bytes, phrase: Bytes) -> bool:
    if len(text) < len(phrase):
        return False
    for place in range(len(phrase)):
        if text[place] != phrase[place] and (text[place] | 0x20) != phrase[place]:
            return False
    return True
