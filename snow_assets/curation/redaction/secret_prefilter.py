"""Prefilter of secret detection: candidate offsets of all rules, in one pass over a text column.

A rule's regular expression is tried only at its candidate offsets, so the prefilter must have no
false negatives; a false positive costs time, not correctness. A rule is identified by the sets of
bytes that its matches begin with (see `byte_prefixes`). For each rule the pair of consecutive bytes
that is rarest in code is looked up for each byte pair of a text; then the complete prefix and its
context are tested. Each test reads a bounded number of bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.jit import kernel
from snow_assets.curation.redaction.byte_prefixes import ByteSet

Ints = npt.NDArray[np.int64]

# The required context of a prefix. ANYWHERE: the rule is searched in the complete text.
PLAIN, WORD_START, URL, ASSIGNED_PASSWORD, ASSIGNED_KEY, ASSIGNED_TO_PRODUCT, EMAIL_AT, ANYWHERE = (
    range(8)
)

# Bytes by descending frequency in code; other bytes are rarer.
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
    """The byte sets that matches of a rule begin with, and the required context."""

    rule: int
    sets: Sequence[ByteSet]
    context: int = PLAIN


@dataclass(frozen=True)
class Prefixes:
    """Prefixes as arrays for the kernel."""

    pair_bits: Bytes  # a bitmap of the byte pairs that select prefixes
    pair_starts: Ints  # pair -> its first row of `pair_rows`
    pair_rows: Ints  # (prefix, position of the pair in it)
    sets: npt.NDArray[np.uint8]  # (set, byte): whether the set holds the byte
    prefix_sets: Ints  # (prefix, position) -> set
    rows: Ints  # (prefix: length, rule, context)

    @classmethod
    def of(cls, prefixes: Sequence[Prefix]) -> "Prefixes":
        set_indices: dict[ByteSet, int] = {}
        prefix_sets = np.zeros((len(prefixes), max(len(p.sets) for p in prefixes)), np.int64)
        pairs: list[tuple[int, int, int]] = []
        for index, prefix in enumerate(prefixes):
            for position, members in enumerate(prefix.sets):
                set_indices.setdefault(members, len(set_indices))
                prefix_sets[index, position] = set_indices[members]
            _, position = _rarest_pair(prefix.sets)
            first, second = prefix.sets[position], prefix.sets[position + 1]
            pairs += [(a << 8 | b, index, position) for a in first for b in second]
        pairs.sort()
        sets = np.zeros((len(set_indices), 256), dtype=np.uint8)
        for members, index in set_indices.items():
            sets[index, list(members)] = 1
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
    """Whether two consecutive sets are small and rare enough in code to search for."""
    if len(sets) < 2:
        return False
    frequency, position = _rarest_pair(sets)
    return (
        frequency <= _MAX_PAIR_FREQUENCY
        and len(sets[position]) * len(sets[position + 1]) <= _MAX_PAIRS
    )


def _rarest_pair(sets: Sequence[ByteSet]) -> tuple[float, int]:
    """Frequency in code of the rarest pair of consecutive sets, and the position of its first."""
    weights = [_frequency(members) for members in sets]
    return min(
        (weights[position] * weights[position + 1], position) for position in range(len(sets) - 1)
    )


@cache
def _frequency(members: ByteSet) -> float:
    """Approximate frequency in code of the bytes of a set."""
    ranks = {byte: rank for rank, byte in enumerate(_COMMON)}
    return sum(0.09 * 0.94 ** ranks.get(byte, len(_COMMON) + 20) for byte in members)


def candidate_offsets(data: Bytes, offsets: Offsets, prefixes: Prefixes) -> Ints:
    """Sorted candidates, (n, 3): text, rule, byte offset in the text at which a match may begin.

    For e-mail addresses the offset is that of the `@`.
    """
    capacity = 1024 + len(data) // 256
    while True:
        candidates = np.zeros((capacity, 3), dtype=np.int64)
        count = _scan(
            data,
            offsets,
            prefixes.pair_bits,
            prefixes.pair_starts,
            prefixes.pair_rows,
            prefixes.sets,
            prefixes.prefix_sets,
            prefixes.rows,
            candidates,
        )
        if count <= capacity:
            return np.unique(candidates[:count], axis=0) if count else candidates[:0]
        capacity = count


@kernel
def _scan(
    data: Bytes,
    offsets: Offsets,
    pair_bits: Bytes,
    pair_starts: Ints,
    pair_rows: Ints,
    sets: Bytes,
    prefix_sets: Ints,
    rows: Ints,
    candidates: Ints,
) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        for offset in range(len(text) - 1):
            pair = np.int64(text[offset]) << 8 | np.int64(text[offset + 1])
            if not pair_bits[pair >> 3] >> (pair & 7) & 1:
                continue
            for entry in range(pair_starts[pair], pair_starts[pair + 1]):
                prefix = pair_rows[entry, 0]
                start = offset - pair_rows[entry, 1]
                length = rows[prefix, 0]
                if not _matches_prefix(text, start, length, sets, prefix_sets[prefix]):
                    continue
                if not _matches_context(text, start, start + length, rows[prefix, 2]):
                    continue
                if count < len(candidates):
                    candidates[count, 0] = row
                    candidates[count, 1] = rows[prefix, 1]
                    candidates[count, 2] = 0 if rows[prefix, 2] == ANYWHERE else start
                count += 1
    return count


@kernel
def _matches_prefix(text: Bytes, start: int, length: int, sets: Bytes, prefix: Ints) -> bool:
    if start < 0 or start + length > len(text):
        return False
    for index in range(length):  # noqa: SIM110 - numba compiles the loop to less
        if not sets[prefix[index], text[start + index]]:
            return False
    return True


@kernel
def _matches_context(text: Bytes, start: int, end: int, context: int) -> bool:
    """Whether the context of a prefix allows a match."""
    if context == WORD_START:
        return start == 0 or not _BYTE_KINDS[text[start - 1]] & _WORD
    if context == URL:
        return _has_url_password(text, end)
    if context == EMAIL_AT:
        return _is_email(text, start)
    if context == ASSIGNED_PASSWORD:
        return _is_assigned(text, end, 8, False)
    if context == ASSIGNED_KEY:
        return _is_assigned(text, end, 16, True)
    if context == ASSIGNED_TO_PRODUCT:
        return _is_assigned(text, end, 8, True)
    return True


@kernel
def _is_kind(text: Bytes, offset: int, kind: int) -> bool:
    return offset < len(text) and _BYTE_KINDS[text[offset]] & kind != 0


@kernel
def _skip(text: Bytes, offset: int, kinds: int, max_bytes: int) -> int:
    end = min(len(text), offset + max_bytes)
    while offset < end and _BYTE_KINDS[text[offset]] & kinds:
        offset += 1
    return offset


@kernel
def _is_assigned(text: Bytes, offset: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether the rest of a name, an operator and a possible secret follow."""
    offset = _skip(text, offset, _NAME, _MAX_NAME_BYTES)
    if offset < len(text) and (text[offset] == 0x20 or text[offset] == 0x09):
        if _has_value_after(text, offset, min_bytes, needs_digit):
            return True
        offset = _skip(text, offset, _NAME | _SPACE, 32)
    offset = _skip(text, offset, _QUOTE, _MAX_GLUE_BYTES)
    offset = _skip_value_keyword(text, offset)
    if not _is_kind(text, offset, _OPERATOR):
        return False
    if _has_value_after_operator(text, offset, min_bytes, needs_digit):
        return True
    # Skip a type annotation between the name and the assignment.
    end = min(len(text), offset + 48)
    offset += 1
    while offset < end and text[offset] != 0x3D and text[offset] != 0x0A:
        offset += 1
    return _has_value_after_operator(text, offset, min_bytes, needs_digit)


@kernel
def _skip_value_keyword(text: Bytes, offset: int) -> int:
    """The offset after the word `value` between a name and an operator, else `offset`."""
    word_start = offset
    if word_start < len(text) and text[word_start] == 0x2C:
        word_start += 1
    word_start = _skip(text, word_start, _QUOTE, _MAX_INDENT_BYTES)
    if (
        word_start + 5 > len(text)
        or text[word_start] | 0x20 != 0x76
        or text[word_start + 1] | 0x20 != 0x61
    ):
        return offset
    if text[word_start + 2] | 0x20 != 0x6C or text[word_start + 3] | 0x20 != 0x75:
        return offset
    return _skip(text, word_start + 5, _QUOTE, _MAX_GLUE_BYTES)


@kernel
def _has_value_after_operator(text: Bytes, offset: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether a value follows an operator of up to three bytes; values may begin with one, too."""
    for _ in range(4):
        if not _is_kind(text, offset, _OPERATOR):
            break
        offset += 1
        if _has_value_after(text, offset, min_bytes, needs_digit):
            return True
    return False


@kernel
def _has_value_after(text: Bytes, offset: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether a value follows white space: bare, or quoted with a prefix of up to two letters."""
    value_start = _skip(text, offset, _SPACE | _QUOTE, _MAX_GLUE_BYTES)
    if _is_value(text, value_start, min_bytes, needs_digit):
        return True
    for letters in range(1, 3):
        quote = value_start + letters
        if quote < len(text) and text[quote] in (0x22, 0x27, 0x60, 0x5C):
            start = _skip(text, quote, _QUOTE, 3)
            if _is_value(text, start, min_bytes, needs_digit):
                return True
    return False


@kernel
def _is_value(text: Bytes, offset: int, min_bytes: int, needs_digit: bool) -> bool:
    """Whether `min_bytes` without white space follow, with a digit or (passwords) both cases.

    Only quoted values contain brackets and commas.
    """
    in_quotes = offset > 0 and (
        text[offset - 1] == 0x22 or text[offset - 1] == 0x27 or text[offset - 1] == 0x60
    )
    has_digit = has_upper = has_lower = False
    end = min(len(text), offset + _MAX_VALUE_BYTES)
    start = offset
    while offset < end:
        byte = text[offset]
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
        offset += 1
    looks_random = has_digit or (has_upper and has_lower and not needs_digit)
    return looks_random and offset - start >= min_bytes


@kernel
def _has_url_password(text: Bytes, offset: int) -> bool:
    """Whether `user:password@` follows."""
    limit = min(len(text), offset + _MAX_URL_BYTES)
    colon = offset
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
    """Whether an `@` is preceded by a user name and followed by a domain-like string."""
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
