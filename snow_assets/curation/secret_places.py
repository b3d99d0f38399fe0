"""Where a secret may begin: one pass over the bytes of a column of texts, for all rules at once.

A rule's expression is tried only at its places, so these must be all at which it can match; a place
too many costs time, not correctness. A rule is known by literals that each of its matches begins
with. A literal is looked for where its rarest byte stands, and what follows is looked at roughly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snow_assets.curation.columns import Bytes, Offsets
from snow_assets.curation.jit import kernel

Numbers = npt.NDArray[np.int64]

# What must stand around a literal.
PLAIN, TOKEN, URL, PASSWORD_NAME, KEY_NAME, EMAIL_AT = range(6)
_MIN_VALUE_CHARS = {PASSWORD_NAME: 8, KEY_NAME: 16}

# From frequent to rare in code; what is not here is rarer still.
_COMMON = b" etnrsaiolcudpmf(),._=hg\"'-:b0y1/xvkw*T2EIS34CARN5L68q79PDOMBz@FGUjHVXKWYJQZ"

_WORD, _SPACE, _USER, _VALUE_END, _DOMAIN = 1, 2, 4, 8, 16


def _byte_kinds() -> Bytes:
    made = np.zeros(256, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        is_word = char.isalnum() or char == "_"
        made[byte] = (
            is_word * _WORD
            | char.isspace() * _SPACE
            | (is_word or char in ".%+/-") * _USER
            | (char.isspace() or char in "\"'<>{}") * _VALUE_END
            | (char.isalnum() or char == "-") * _DOMAIN
        )
    return made


_BYTE_KINDS = _byte_kinds()


@dataclass(frozen=True)
class Literal:
    """A literal that a rule's matches begin with."""

    rule: int
    text: bytes
    context: int = PLAIN
    ignores_case: bool = False


@dataclass(frozen=True)
class Literals:
    """Literals as the kernel reads them: sorted by the byte that gives them away."""

    starts: Numbers  # byte -> the first literal that it gives away; 257 of them
    texts: Bytes  # a row per literal
    facts: Numbers  # a row per literal: length, the byte's place, rule, context, case, minimum

    @classmethod
    def of(cls, literals: Sequence[Literal]) -> "Literals":
        rows: list[tuple[int, bytes, list[int]]] = []
        for literal in literals:
            text = literal.text.lower() if literal.ignores_case else literal.text
            ranks = [_rarity(byte, literal.ignores_case) for byte in text]
            place = ranks.index(max(ranks))
            facts = [
                len(text), place, literal.rule, literal.context, literal.ignores_case,
                _MIN_VALUE_CHARS.get(literal.context, 0),
            ]  # fmt: skip
            byte = text[place : place + 1]
            cases = {byte, byte.upper()} if literal.ignores_case else {byte}
            rows += [(case[0], text, facts) for case in cases]
        rows.sort(key=lambda row: (row[0], row[2][2], row[1]))
        texts = np.zeros((len(rows), max(len(text) for _, text, _ in rows)), dtype=np.uint8)
        for row, (_, text, _) in enumerate(rows):
            texts[row, : len(text)] = list(text)
        starts = np.searchsorted([byte for byte, _, _ in rows], range(257))
        return cls(starts.astype(np.int64), texts, np.array([row[2] for row in rows], np.int64))


def _rarity(byte: int, ignores_case: bool) -> int:
    found = [_COMMON.find(byte), _COMMON.find(bytes([byte]).upper()) if ignores_case else 999]
    return min(place if place >= 0 else 998 for place in found)


def secret_places(data: Bytes, offsets: Offsets, literals: Literals) -> Numbers:
    """Rows of (text, rule, byte in the text), sorted: where the rules' matches may begin."""
    room = 1024 + len(data) // 256
    while True:
        found = np.zeros((room, 3), dtype=np.int64)
        count = _find(data, offsets, literals.starts, literals.texts, literals.facts, found)
        if count <= room:
            return np.unique(found[:count], axis=0) if count else found[:0]
        room = count


@kernel
def _find(
    data: Bytes, offsets: Offsets, starts: Numbers, texts: Bytes, facts: Numbers, found: Numbers
) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        for place in range(len(text)):
            byte = text[place]
            for literal in range(starts[byte], starts[byte + 1]):
                begin = place - facts[literal, 1]
                if not _stands(text, begin, texts[literal], facts[literal]):
                    continue
                start = _start(text, begin, facts[literal])
                if start >= 0:
                    if count < len(found):
                        found[count, 0] = row
                        found[count, 1] = facts[literal, 2]
                        found[count, 2] = start
                    count += 1
    return count


@kernel
def _stands(text: Bytes, begin: int, literal: Bytes, facts: Numbers) -> bool:
    length = facts[0]
    if begin < 0 or begin + length > len(text):
        return False
    for at in range(length):
        byte = text[begin + at]
        if facts[4] and 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte != literal[at]:
            return False
    return True


@kernel
def _start(text: Bytes, begin: int, facts: Numbers) -> int:
    """Where a match around the literal would start, or -1 if there can be none."""
    end, context = begin + facts[0], facts[3]
    if context == TOKEN:
        return -1 if begin and _BYTE_KINDS[text[begin - 1]] & _WORD else begin
    if context == URL:
        return begin if _has_url_password(text, end) else -1
    if context == EMAIL_AT:
        return _email_start(text, begin)
    if context != PLAIN:
        return begin if _is_assigned(text, end, facts[5]) else -1
    return begin


@kernel
def _is(text: Bytes, place: int, kind: int) -> bool:
    return place < len(text) and _BYTE_KINDS[text[place]] & kind != 0


@kernel
def _is_quote(text: Bytes, place: int) -> bool:
    return place < len(text) and (text[place] == 0x22 or text[place] == 0x27)


@kernel
def _is_assigned(text: Bytes, place: int, min_chars: int) -> bool:
    """Whether a name goes on, something that assigns follows, and then a long enough string."""
    while _is(text, place, _WORD) or (place < len(text) and text[place] >= 0x80):
        place += 1
    if _is_quote(text, place):
        place += 1
    if place < len(text) and text[place] == 0x5D:
        place += 1
    while _is(text, place, _SPACE) or (place < len(text) and text[place] >= 0x80):
        place += 1
    if place == len(text) or (text[place] != 0x3D and text[place] != 0x3A):
        return False
    while place < len(text) and (
        _BYTE_KINDS[text[place]] & (_WORD | _SPACE)
        or text[place] >= 0x80
        or text[place] == 0x3D
        or text[place] == 0x3A
        or text[place] == 0x3E
    ):
        place += 1
    if not _is_quote(text, place):
        return False
    place += 1
    end = place
    while end < len(text) and not _BYTE_KINDS[text[end]] & _VALUE_END:
        end += 1
    return end - place >= min_chars and _is_quote(text, end)


@kernel
def _has_url_password(text: Bytes, place: int) -> bool:
    """Whether `user:password@` follows."""
    colon = place
    while colon < len(text) and text[colon] != 0x3A:
        byte = text[colon]
        if _BYTE_KINDS[byte] & _SPACE or byte in (0x2F, 0x40, 0x22, 0x27, 0x3C, 0x3E):
            return False
        colon += 1
    end = colon + 1
    while end < len(text) and text[end] != 0x40:
        byte = text[end]
        if _BYTE_KINDS[byte] & _SPACE or byte in (0x2F, 0x22, 0x27, 0x3C, 0x3E):
            return False
        end += 1
    return end < len(text)


@kernel
def _email_start(text: Bytes, at: int) -> int:
    """Where the user's name before an `@` starts, if a name and something like a domain stand."""
    start = at
    while start and _BYTE_KINDS[text[start - 1]] & _USER:
        start -= 1
        if text[start] == 0x2F or at - start > 64:
            return -1
    dot = at + 1
    while _is(text, dot, _DOMAIN):
        dot += 1
    if start == at or dot == at + 1 or dot == len(text) or text[dot] != 0x2E:
        return -1
    return start if _is(text, dot + 1, _DOMAIN) else -1
