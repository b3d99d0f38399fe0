"""A text as tokens whose hashes do not depend on what identifiers are called.

A program's tokens are words and single characters, without comments, white space and the content
of strings. In a window of tokens an identifier counts as the distance to its last place there
(Baker's parameterized strings, 1993), so that renaming it changes no hash; a keyword, a builtin
name or a number counts as itself. A description's tokens are its words, each as itself.
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snow_assets.curation.hashing import (
    Hashes,
    HashSet,
    byte_runs,
    span_hashes,
    splitmix64,
    word_spans,
)
from snow_assets.curation.leak_rule import fixed_names

_FACTOR = np.uint64(0xD6E8FEB86659FD93)

# Marks of long strings go, so that a text that begins inside of one is read like any other.
_NOISE_START = re.compile(r"\"\"\"|'''|[\"'#]|//|/\*")
_STRING_BODIES = {quote: re.compile(rf"(?:[^{quote}\\\n]|\\.)*+", re.DOTALL) for quote in "\"'"}


class Tokens(NamedTuple):
    """Offsets are into `content`, which is the text without noise."""

    content: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    codes: Hashes
    is_name: npt.NDArray[np.bool_]  # an identifier
    is_word: npt.NDArray[np.bool_]  # an identifier, keyword or builtin name
    distances: npt.NDArray[np.int64]  # to the same identifier's last place; 0 if there is none

    def excerpt(self, start: int, count: int) -> str:
        shown = self.content[self.starts[start] : self.ends[start + count - 1]]
        return " ".join(shown.decode(errors="replace").split())


def program_tokens(text: str) -> Tokens:
    """The tokens of a program, in any language that writes comments and strings like most do."""
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
    """The words of a text: letters only, two at least, in lower case."""
    content = text.lower().encode()
    starts, ends = byte_runs(content, _is_letter())
    long = ends - starts > 1
    starts, ends = starts[long], ends[long]
    nothing = np.zeros(len(starts), dtype=np.int64)
    codes = span_hashes(content, starts, ends)
    return Tokens(content, starts, ends, codes, nothing > 0, nothing == 0, nothing)


def window_hashes(
    tokens: Tokens, length: int, *, start: int = 0, stop: int | None = None
) -> Hashes:
    """A hash per window of `length` tokens that begins in [start, stop)."""
    last = len(tokens.codes) - length + 1
    stop = last if stop is None else min(stop, last)
    count = max(0, stop - start)
    names = splitmix64(np.arange(1, length + 2, dtype=np.uint64) * _FACTOR)
    part = slice(start, start + count + length - 1)
    codes, is_name, distances = tokens.codes[part], tokens.is_name[part], tokens.distances[part]
    as_new = np.where(is_name, names[0], codes)
    as_known = np.where(is_name, names[np.minimum(distances, length)], codes)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        end = offset + count
        is_known = distances[offset:end] <= offset  # its last place lies inside the window
        value = np.where(is_known, as_known[offset:end], as_new[offset:end])
        hashes = hashes * _FACTOR + value
    return splitmix64(hashes)


def words_per_window(tokens: Tokens, length: int) -> npt.NDArray[np.int64]:
    """How many identifiers, keywords and builtin names each window of `length` tokens holds."""
    if len(tokens.codes) < length:
        return np.zeros(0, dtype=np.int64)
    sums = np.concatenate([[0], np.cumsum(tokens.is_word)])
    return np.asarray(sums[length:] - sums[:-length], dtype=np.int64)


def _without_noise(text: str) -> str:
    """A text without comments, marks of long strings and what strings hold.

    What is never closed is looked for once, so that no text takes more than a few passes.
    """
    parts: list[str] = []
    place = kept = 0
    last_comment_end = text.rfind("*/")
    broken_until = dict.fromkeys("\"'", 0)  # quotes before it open nothing
    while noise := _NOISE_START.search(text, place):
        start, mark, is_string = noise.start(), noise.group(), False
        if len(mark) == 3:
            end = start + 3
        elif mark in _STRING_BODIES:
            if start < broken_until[mark]:
                place = start + 1
                continue
            body = _STRING_BODIES[mark].match(text, start + 1)
            end = body.end() + 1 if body else start + 1
            is_string = text[end - 1 : end] == mark and end > start + 1
            if not is_string:
                broken_until[mark], place = end - 1, start + 1
                continue
        elif mark == "/*":
            if start + 2 > last_comment_end:
                place = start + 1
                continue
            end = text.index("*/", start + 2) + 2
        else:
            line_end = text.find("\n", start)
            end = len(text) if line_end < 0 else line_end
        parts += (text[kept:start], ' " ' if is_string else " ")
        place = kept = end
    return "".join(parts) + text[kept:]


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
        # A line may be continued and ended by `\\` and `;` or not.
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
