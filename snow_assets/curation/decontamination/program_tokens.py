"""Tokens of programs and descriptions, with window hashes that are invariant to renaming.

A program's tokens are words and single characters, without comments, white space and the content
of strings. In a window an identifier is represented by the distance to its previous occurrence
(Baker's parameterized strings, 1993), so that renaming does not change hashes; keywords, builtin
names and numbers represent themselves, as do the words of a description.
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.decontamination.rule import fixed_names
from snow_assets.curation.hashing import (
    Hashes,
    HashSet,
    byte_runs,
    span_hashes,
    splitmix64,
    word_spans,
)

_FACTOR = np.uint64(0xD6E8FEB86659FD93)

# Quotes of long strings are removed, so that a text that begins inside one is read alike.
_NOISE_START = re.compile(r"\"\"\"|'''|[\"'#]|//|/\*")
_STRING_BODIES = {quote: re.compile(rf"(?:[^{quote}\\\n]|\\.)*+", re.DOTALL) for quote in "\"'"}


class Tokens(NamedTuple):
    """Tokens with offsets into `content`, the text without comments and strings."""

    content: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    codes: Hashes
    is_name: npt.NDArray[np.bool_]  # an identifier
    is_word: npt.NDArray[np.bool_]  # an identifier, keyword or builtin name
    distances: npt.NDArray[np.int64]  # to the identifier's previous occurrence; 0 if there is none

    def excerpt(self, start: int, count: int) -> str:
        content = self.content[self.starts[start] : self.ends[start + count - 1]]
        return " ".join(content.decode(errors="replace").split())


def program_tokens(text: str) -> Tokens:
    """The tokens of a program in any language with common comment and string syntax."""
    content = _without_noise(text).encode()
    words = word_spans(content)
    characters = np.frombuffer(content, dtype=np.uint8)
    symbols = np.flatnonzero(_is_symbol()[characters])
    starts = np.concatenate([words[0], symbols])
    ends = np.concatenate([words[1], symbols + 1])
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    codes = span_hashes(content, starts, ends)
    first = characters[starts]
    is_number = (first >= ord("0")) & (first <= ord("9"))
    is_word = (order < len(words[0])) & ~is_number
    is_name = is_word.copy()
    is_name[_fixed_names().indices_in(codes)] = False
    return Tokens(content, starts, ends, codes, is_name, is_word, _distances(codes, is_name))


def description_tokens(text: str) -> Tokens:
    """The words of a text: two letters or more, in lower case."""
    content = text.lower().encode()
    starts, ends = byte_runs(content, _is_letter())
    is_word = ends - starts > 1
    starts, ends = starts[is_word], ends[is_word]
    zeros = np.zeros(len(starts), dtype=np.int64)
    codes = span_hashes(content, starts, ends)
    return Tokens(content, starts, ends, codes, zeros > 0, zeros == 0, zeros)


def window_hashes(
    tokens: Tokens, length: int, *, start: int = 0, stop: int | None = None
) -> Hashes:
    """A hash per window of `length` tokens that starts in [start, stop)."""
    num_windows = len(tokens.codes) - length + 1
    stop = num_windows if stop is None else min(stop, num_windows)
    count = max(0, stop - start)
    name_codes = splitmix64(np.arange(1, length + 2, dtype=np.uint64) * _FACTOR)
    part = slice(start, start + count + length - 1)
    codes, is_name, distances = tokens.codes[part], tokens.is_name[part], tokens.distances[part]
    first_codes = np.where(is_name, name_codes[0], codes)
    repeat_codes = np.where(is_name, name_codes[np.minimum(distances, length)], codes)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        end = offset + count
        is_repeat = distances[offset:end] <= offset  # the previous occurrence is in the window
        value = np.where(is_repeat, repeat_codes[offset:end], first_codes[offset:end])
        hashes = hashes * _FACTOR + value
    return splitmix64(hashes)


def words_per_window(tokens: Tokens, length: int) -> npt.NDArray[np.int64]:
    """The number of identifiers, keywords and builtin names in each window of `length` tokens."""
    if len(tokens.codes) < length:
        return np.zeros(0, dtype=np.int64)
    sums = np.concatenate([[0], np.cumsum(tokens.is_word)])
    return np.asarray(sums[length:] - sums[:-length], dtype=np.int64)


def _without_noise(text: str) -> str:
    """Remove comments, quotes of long strings and the content of strings.

    The end of an unterminated string or comment is searched once, so that time is linear.
    """
    parts: list[str] = []
    offset = copied_end = 0
    last_comment_end = text.rfind("*/")
    broken_until = dict.fromkeys("\"'", 0)  # quotes before it are unterminated
    while noise := _NOISE_START.search(text, offset):
        start, mark, is_string = noise.start(), noise.group(), False
        if len(mark) == 3:
            end = start + 3
        elif mark in _STRING_BODIES:
            if start < broken_until[mark]:
                offset = start + 1
                continue
            body = _STRING_BODIES[mark].match(text, start + 1)
            end = body.end() + 1 if body else start + 1
            is_string = text[end - 1 : end] == mark and end > start + 1
            if not is_string:
                broken_until[mark], offset = end - 1, start + 1
                continue
        elif mark == "/*":
            if start + 2 > last_comment_end:
                offset = start + 1
                continue
            end = text.index("*/", start + 2) + 2
        else:
            line_end = text.find("\n", start)
            end = len(text) if line_end < 0 else line_end
        parts += (text[copied_end:start], ' " ' if is_string else " ")
        offset = copied_end = end
    return "".join(parts) + text[copied_end:]


def _distances(codes: Hashes, is_name: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    distances = np.zeros(len(codes), dtype=np.int64)
    names = np.flatnonzero(is_name)
    by_name = names[np.argsort(codes[names], kind="stable")]
    is_same = codes[by_name][1:] == codes[by_name][:-1]
    distances[by_name[1:][is_same]] = np.diff(by_name)[is_same]
    return distances


@cache
def _is_symbol() -> npt.NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    for byte in range(0x21, 0x7F):
        # Line continuations (`\\`) and `;` are optional, and so are ignored.
        table[byte] = not chr(byte).isalnum() and chr(byte) not in "_\\;"
    return table


@cache
def _is_letter() -> npt.NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    table[ord("a") : ord("z") + 1] = True
    return table


@cache
def _fixed_names() -> HashSet:
    joined = " ".join(sorted(fixed_names())).encode()
    return HashSet.of(span_hashes(joined, *word_spans(joined)).tolist())
