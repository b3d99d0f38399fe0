"""Byte prefixes of the matches of a regular expression: a set of bytes per position.

`\\bghp_[0-9a-z]{36}` begins with {g} {h} {p} {_} and then 36 times {0-9a-z}, which a byte scan can
test before the expression is tried. Expressions are for `str` with `re.ASCII`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

ByteSet = frozenset[int]

_CATEGORIES: dict[Any, ByteSet] = {
    op.CATEGORY_DIGIT: frozenset(b"0123456789"),
    op.CATEGORY_SPACE: frozenset(b" \t\n\r\f\v"),
    op.CATEGORY_WORD: frozenset(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
}
WORD_BYTES = _CATEGORIES[op.CATEGORY_WORD]
_ZERO_WIDTH = (op.ASSERT, op.ASSERT_NOT)
_MAX_VARIANTS = 32
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


@dataclass(frozen=True)
class BytePrefix:
    """Sets of bytes by position, and whether a match starts at a word boundary."""

    sets: tuple[ByteSet, ...]
    at_word_boundary: bool


Variant = tuple[list[ByteSet], bool]
"""The sets of a part of a pattern, and whether they cover the complete part."""


def byte_prefixes(pattern: str, *, max_length: int = 40) -> list[BytePrefix]:
    """The prefixes of a pattern's matches, one per leading alternative.

    A prefix ends at `max_length` bytes or at the first part of variable position.
    """
    parsed = _parser.parse(pattern, re.ASCII)
    ignores_case = bool(parsed.state.flags & re.IGNORECASE)
    at_boundary = _begins_at_boundary(parsed)
    return [
        BytePrefix(tuple(sets), at_boundary and bool(sets) and sets[0] <= WORD_BYTES)
        for sets, _ in _sequence(parsed, ignores_case, max_length)
    ]


def _begins_at_boundary(items: Any) -> bool:
    """Whether the pattern begins with `\\b`, also inside leading groups."""
    for code, argument in items:
        if code is op.AT:
            return bool(argument is op.AT_BOUNDARY)
        if code is op.SUBPATTERN:
            return _begins_at_boundary(argument[3])
        if code not in _ZERO_WIDTH:
            return False
    return False


def _sequence(items: Any, ignores_case: bool, max_length: int) -> list[Variant]:
    variants: list[Variant] = [([], True)]
    for code, argument in items:
        if code is op.AT or code in _ZERO_WIDTH:
            continue
        if not any(is_whole and len(sets) < max_length for sets, is_whole in variants):
            break
        tails = _node(code, argument, ignores_case, max_length)
        if len(variants) * len(tails) > _MAX_VARIANTS:
            tails = [_union(tails)]
        variants = [
            ((sets + tail)[:max_length], goes_on)
            for sets, is_whole in variants
            for tail, goes_on in (tails if is_whole else [([], False)])
        ]
    return variants


def _node(code: Any, argument: Any, ignores_case: bool, max_length: int) -> list[Variant]:
    if code is op.LITERAL:
        return [_single_byte(frozenset([argument]), ignores_case)]
    if code is op.IN:
        return [_single_byte(_members(argument), ignores_case)]
    if code is op.SUBPATTERN:
        _, added, removed, items = argument
        inner = (ignores_case or bool(added & re.IGNORECASE)) and not removed & re.IGNORECASE
        return _sequence(items, inner, max_length)
    if code is op.ATOMIC_GROUP:
        return _sequence(argument, ignores_case, max_length)
    if code is op.BRANCH:
        branches = (_sequence(items, ignores_case, max_length) for items in argument[1])
        return [variant for variants in branches for variant in variants]
    if code in _REPEATS:
        min_repeats, max_repeats, items = argument
        return [
            _repeat(
                min_repeats,
                max_repeats,
                _union(_sequence(items, ignores_case, max_length)),
                max_length,
            )
        ]
    return [([], False)]


def _repeat(min_repeats: int, max_repeats: int, repeated: Variant, max_length: int) -> Variant:
    sets, is_whole = repeated
    if not is_whole:
        return (sets if min_repeats else []), False
    return (sets * min(min_repeats, max_length))[:max_length], min_repeats == max_repeats


def _union(variants: Sequence[Variant]) -> Variant:
    lengths = {len(sets) for sets, _ in variants}
    sets = [
        frozenset[int]().union(*(variant[position] for variant, _ in variants))
        for position in range(min(lengths))
    ]
    return sets, len(lengths) == 1 and all(is_whole for _, is_whole in variants)


def _single_byte(members: ByteSet, ignores_case: bool) -> Variant:
    """The set of a single character, unless it contains multi-byte characters."""
    if not members or max(members) >= 0x80:
        return [], False
    if ignores_case:
        text = "".join(map(chr, members))
        members = frozenset((text.lower() + text.upper()).encode())
    return [members], True


def _members(items: Any) -> ByteSet:
    """Code points of a character class; non-ASCII members are represented by 0x80."""
    members: set[int] = set()
    for code, argument in items:
        if code is op.LITERAL:
            members.add(min(argument, 0x80))
        elif code is op.RANGE:
            members.update(range(argument[0], min(argument[1], 0x80) + 1))
        elif code is op.CATEGORY and argument in _CATEGORIES:
            members |= _CATEGORIES[argument]
        else:  # a negated class contains non-ASCII characters
            members.add(0x80)
    return frozenset(members)
