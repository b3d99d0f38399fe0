"""Where a secret may begin: one pass over the bytes of a column of texts, for all rules at once.

A rule's expression is tried only at its places, so these must be all at which it can match and the
match is a secret; a place too many costs time, not correctness. A rule is known by the sets of
bytes that each of its matches begins with (see `byte_prefixes`). Of two bytes in a row of them, the
pair that is rarest in code is looked up for each pair of bytes of a text; then the rest of the
prefix and what stands around are tested. Each test reads a bounded number of bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from snow_assets.curation.byte_prefixes import ByteSet
from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.jit import kernel

Numbers = npt.NDArray[np.int64]

# What must stand around a prefix. ANYWHERE: the rule is tried at every place of the text.
PLAIN, WORD_START, URL, ASSIGNED_PASSWORD, ASSIGNED_KEY, ASSIGNED_TO_PRODUCT, EMAIL_AT, ANYWHERE = (
    range(8)
)

# From frequent to rare in code; what is not here is rarer still.
_COMMON = b" etnrsaiolcudpmf(),._=hg\"'-:b0y1/xvkw*T2EIS34CARN5L68q79PDOMBz@FGUjHVXKWYJQZ"
_MAX_PAIR_FREQUENCY = 5e-3
_MAX_PAIRS = 64

_WORD, _SPACE, _USER, _VALUE_END, _DOMAIN, _NAME, _QUOTE, _OPERATOR = (1 << bit for bit in range(8))
_MAX_NAME_BYTES, _MAX_GLUE_BYTES, _MAX_VALUE_BYTES, _MAX_URL_BYTES = 72, 12, 128, 1024
_MAX_INDENT_BYTES = 24


def _byte_kinds() -> Bytes:
    kinds = np.zeros(256, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        is_word = char.isalnum() or char == "_"
        is_space = char in " \t\n\r\f\v"
        kinds[byte] = (
            is_word * _WORD
            | is_space * _SPACE
            | (is_word or char in ".%+/-'") * _USER
            | (is_space or char in "\"'`<>{}(),;&[]") * _VALUE_END
            | (char.isalnum() or char == "-") * _DOMAIN
            | (is_word or char in ".$-") * _NAME
            | (is_space or char in "\"'`\\])") * _QUOTE
            | (char in "=:>,|?!(") * _OPERATOR
        )
    return kinds


_BYTE_KINDS = _byte_kinds()


@dataclass(frozen=True)
class Prefix:
    """Bytes that matches of a rule begin with, and what must stand around them."""

    rule: int
    sets: Sequence[ByteSet]
    context: int = PLAIN


@dataclass(frozen=True)
class Prefixes:
    """Prefixes as the kernel reads them."""

    pair_bits: Bytes  # a bit per pair of bytes that gives a prefix away
    pair_starts: Numbers  # pair -> its first row of `pair_rows`
    pair_rows: Numbers  # (prefix, position of the pair in it)
    sets: npt.NDArray[np.uint8]  # (set, byte): whether the set holds the byte
    prefix_sets: Numbers  # (prefix, position) -> set
    rows: Numbers  # (prefix: length, rule, context)

    @classmethod
    def of(cls, prefixes: Sequence[Prefix]) -> "Prefixes":
        set_numbers: dict[ByteSet, int] = {}
        prefix_sets = np.zeros((len(prefixes), max(len(p.sets) for p in prefixes)), np.int64)
        pairs: list[tuple[int, int, int]] = []
        for number, prefix in enumerate(prefixes):
            for position, members in enumerate(prefix.sets):
                set_numbers.setdefault(members, len(set_numbers))
                prefix_sets[number, position] = set_numbers[members]
            _, position = _rarest_pair(prefix.sets)
            first, second = prefix.sets[position], prefix.sets[position + 1]
            pairs += [(a << 8 | b, number, position) for a in first for b in second]
        pairs.sort()
        sets = np.zeros((len(set_numbers), 256), dtype=np.uint8)
        for members, number in set_numbers.items():
            sets[number, list(members)] = 1
        keys = np.array([pair for pair, _, _ in pairs], dtype=np.int64)
        pair_bits = np.packbits(np.bincount(keys, minlength=65_536) > 0, bitorder="little")
        return cls(
            pair_bits=pair_bits,
            pair_starts=np.searchsorted(keys, np.arange(65_537)).astype(np.int64),
            pair_rows=np.array([row[1:] for row in pairs], dtype=np.int64),
            sets=sets,
            prefix_sets=prefix_sets,
            rows=np.array([(len(p.sets), p.rule, p.context) for p in prefixes], dtype=np.int64),
        )


def has_rare_pair(sets: Sequence[ByteSet]) -> bool:
    """Whether two sets in a row are of few bytes, rare enough in code to look for."""
    if len(sets) < 2:
        return False
    frequency, at = _rarest_pair(sets)
    return frequency <= _MAX_PAIR_FREQUENCY and len(sets[at]) * len(sets[at + 1]) <= _MAX_PAIRS


def _rarest_pair(sets: Sequence[ByteSet]) -> tuple[float, int]:
    """How frequent the rarest two sets in a row are in code, and the position of the first."""
    weights = [_frequency(members) for members in sets]
    return min((weights[at] * weights[at + 1], at) for at in range(len(sets) - 1))


@cache
def _frequency(members: ByteSet) -> float:
    """About how often a byte of a set stands in code."""
    ranks = {byte: rank for rank, byte in enumerate(_COMMON)}
    return sum(0.09 * 0.94 ** ranks.get(byte, len(_COMMON) + 20) for byte in members)


def secret_places(data: Bytes, offsets: Offsets, prefixes: Prefixes) -> Numbers:
    """Rows of (text, rule, byte in the text), sorted: where the rules' matches may begin.

    Of an e-mail address it is the place of its `@`.
    """
    room = 1024 + len(data) // 256
    while True:
        places = np.zeros((room, 3), dtype=np.int64)
        count = _find(
            data,
            offsets,
            prefixes.pair_bits,
            prefixes.pair_starts,
            prefixes.pair_rows,
            prefixes.sets,
            prefixes.prefix_sets,
            prefixes.rows,
            places,
        )
        if count <= room:
            return np.unique(places[:count], axis=0) if count else places[:0]
        room = count


@kernel
def _find(
    data: Bytes,
    offsets: Offsets,
    pair_bits: Bytes,
    pair_starts: Numbers,
    pair_rows: Numbers,
    sets: Bytes,
    prefix_sets: Numbers,
    rows: Numbers,
    places: Numbers,
) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        for at in range(len(text) - 1):
            pair = np.int64(text[at]) << 8 | np.int64(text[at + 1])
            if not pair_bits[pair >> 3] >> (pair & 7) & 1:
                continue
            for entry in range(pair_starts[pair], pair_starts[pair + 1]):
                prefix = pair_rows[entry, 0]
                begin = at - pair_rows[entry, 1]
                length = rows[prefix, 0]
                if not _stands(text, begin, length, sets, prefix_sets[prefix]):
                    continue
                if not _fits(text, begin, begin + length, rows[prefix, 2]):
                    continue
                if count < len(places):
                    places[count, 0] = row
                    places[count, 1] = rows[prefix, 1]
                    places[count, 2] = 0 if rows[prefix, 2] == ANYWHERE else begin
                count += 1
    return count


@kernel
def _stands(text: Bytes, begin: int, length: int, sets: Bytes, prefix: Numbers) -> bool:
    if begin < 0 or begin + length > len(text):
        return False
    for at in range(length):  # noqa: SIM110 - numba compiles the loop to less
        if not sets[prefix[at], text[begin + at]]:
            return False
    return True


@kernel
def _fits(text: Bytes, begin: int, end: int, context: int) -> bool:
    """Whether a match can start at a prefix, by what stands around it."""
    if context == WORD_START:
        return begin == 0 or not _BYTE_KINDS[text[begin - 1]] & _WORD
    if context == URL:
        return _has_url_password(text, end)
    if context == EMAIL_AT:
        return _is_email(text, begin)
    if context == ASSIGNED_PASSWORD:
        return _is_assigned(text, end, 8, False)
    if context == ASSIGNED_KEY:
        return _is_assigned(text, end, 16, True)
    if context == ASSIGNED_TO_PRODUCT:
        return _is_assigned(text, end, 8, True)
    return True


@kernel
def _is(text: Bytes, place: int, kind: int) -> bool:
    return place < len(text) and _BYTE_KINDS[text[place]] & kind != 0


@kernel
def _skip(text: Bytes, place: int, kinds: int, most: int) -> int:
    end = min(len(text), place + most)
    while place < end and _BYTE_KINDS[text[place]] & kinds:
        place += 1
    return place


@kernel
def _is_assigned(text: Bytes, place: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether a name goes on, an operator follows, and then a value that may be a secret."""
    place = _skip(text, place, _NAME, _MAX_NAME_BYTES)
    if place < len(text) and (text[place] == 0x20 or text[place] == 0x09):
        if _is_value_behind(text, place, min_bytes, needs_digit):
            return True
        place = _skip(text, place, _NAME | _SPACE, 32)
    place = _skip(text, place, _QUOTE, _MAX_GLUE_BYTES)
    place = _skip_value_word(text, place)
    if not _is(text, place, _OPERATOR):
        return False
    if _is_value_behind_operator(text, place, min_bytes, needs_digit):
        return True
    # An annotation of a type stands between the name and what is assigned.
    end = min(len(text), place + 48)
    place += 1
    while place < end and text[place] != 0x3D and text[place] != 0x0A:
        place += 1
    return _is_value_behind_operator(text, place, min_bytes, needs_digit)


@kernel
def _skip_value_word(text: Bytes, place: int) -> int:
    """The place after `value`, which may stand between a name and an operator, or `place`."""
    word = place
    if word < len(text) and text[word] == 0x2C:
        word += 1
    word = _skip(text, word, _QUOTE, _MAX_INDENT_BYTES)
    if word + 5 > len(text) or text[word] | 0x20 != 0x76 or text[word + 1] | 0x20 != 0x61:
        return place
    if text[word + 2] | 0x20 != 0x6C or text[word + 3] | 0x20 != 0x75:
        return place
    return _skip(text, word + 5, _QUOTE, _MAX_GLUE_BYTES)


@kernel
def _is_value_behind_operator(text: Bytes, place: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether an operator of up to three bytes is followed by a value, which may begin so too."""
    for _ in range(4):
        if not _is(text, place, _OPERATOR):
            break
        place += 1
        if _is_value_behind(text, place, min_bytes, needs_digit):
            return True
    return False


@kernel
def _is_value_behind(text: Bytes, place: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether a value follows space: at once, in quotes, or in quotes with up to two letters."""
    value = _skip(text, place, _SPACE | _QUOTE, _MAX_GLUE_BYTES)
    if _is_value(text, value, min_bytes, needs_digit):
        return True
    for letters in range(1, 3):
        quote = value + letters
        if quote < len(text) and text[quote] in (0x22, 0x27, 0x60, 0x5C):
            start = _skip(text, quote, _QUOTE, 3)
            if _is_value(text, start, min_bytes, needs_digit):
                return True
    return False


@kernel
def _is_value(text: Bytes, place: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether enough bytes without a space stand, with a digit or (a password) both cases.

    Brackets and commas are of a value in quotes only.
    """
    in_quotes = place > 0 and (
        text[place - 1] == 0x22 or text[place - 1] == 0x27 or text[place - 1] == 0x60
    )
    has_digit = has_upper = has_lower = False
    end = min(len(text), place + _MAX_VALUE_BYTES)
    start = place
    while place < end:
        byte = text[place]
        if in_quotes:
            if _BYTE_KINDS[byte] & _SPACE or byte == 0x3C or byte == 0x3E:
                break
            if byte == text[start - 1]:
                break
        elif _BYTE_KINDS[byte] & _VALUE_END:
            break
        has_digit |= 0x30 <= byte <= 0x39
        has_upper |= 0x41 <= byte <= 0x5A
        has_lower |= 0x61 <= byte <= 0x7A
        if byte >= 0x80:
            has_digit = True
        place += 1
    is_drawn = has_digit or (has_upper and has_lower and not needs_digit)
    return is_drawn and place - start >= min_bytes


@kernel
def _has_url_password(text: Bytes, place: int) -> bool:
    """Whether `user:password@` follows."""
    limit = min(len(text), place + _MAX_URL_BYTES)
    colon = place
    while colon < limit and text[colon] != 0x3A:
        byte = text[colon]
        if _BYTE_KINDS[byte] & _SPACE or byte in (0x2F, 0x40, 0x22, 0x27, 0x3C, 0x3E):
            return False
        colon += 1
    end = colon + 1
    while end < limit and text[end] != 0x40:
        byte = text[end]
        if _BYTE_KINDS[byte] & _SPACE or byte in (0x2F, 0x22, 0x27, 0x3C, 0x3E):
            return False
        end += 1
    return end < limit


@kernel
def _is_email(text: Bytes, at: int) -> bool:
    """Whether a user's name stands before an `@`, and something like a domain after it."""
    before = at - 1
    if before > 0 and text[before] == 0x5C:
        before -= 1
    if before < 0 or not (_BYTE_KINDS[text[before]] & _USER or text[before] >= 0x80):
        return False
    dot = at + 1
    end = min(len(text), at + 256)
    while dot < end and (_BYTE_KINDS[text[dot]] & _DOMAIN or text[dot] >= 0x80):
        dot += 1
    if dot == at + 1 or dot + 1 >= len(text) or text[dot] != 0x2E:
        return False
    return bool(_BYTE_KINDS[text[dot + 1]] & _DOMAIN) or text[dot + 1] >= 0x80
