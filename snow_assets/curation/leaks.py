"""The gate: does a text hold a benchmark's solution or description, identifiers renamed or not?

Later stages ask it about seeds, generated files and packs, and refuse. It shares no matcher with
`contamination`: programs are compared as tokens, in which comments, white space, the content of
strings and the names of identifiers do not count, only which places share a name (Baker's
parameterized matching, 1993); descriptions are compared as words.

Not found: a program of the same idea in other statements or another order; a solution translated
to another language; a program of fewer tokens than half a window, unless its description stands
beside it; a text cut into pieces shorter than a window.
"""

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.hashing import Hashes, HashSet, mixed, span_hashes, word_spans
from snow_assets.curation.problem_texts import docstrings, signature

_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_EVIDENCE_CHARS = 200

# Marks of long strings go, so that a text that begins inside of one is read like any other.
_NOISE = re.compile(
    r"\"\"\"|'''|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL
)
_WORD = re.compile(rb"[a-z]{2,}")


class ContaminatedError(ValueError):
    """A text that was to be used holds a benchmark problem."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A benchmark problem in a document, and what agrees."""

    document_id: str
    problem_id: str
    part: str  # solution or description
    evidence: str


class _Tokens(NamedTuple):
    """A program's tokens. Offsets into `content`, which is the text without noise."""

    content: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    codes: Hashes
    distances: npt.NDArray[np.int64]  # to the same identifier's last place; 0: none, or no name


@dataclass(frozen=True)
class _Pattern:
    problem_id: str
    part: str
    length: int  # tokens
    hashed: int  # of all of them


@dataclass(frozen=True)
class _Patterns:
    """Patterns by the hash of their first `length` tokens."""

    length: int
    keys: HashSet
    by_key: Mapping[int, Sequence[_Pattern]]


def leaks(
    texts: Iterable[tuple[str, str]], problems: pa.Table, *, window_tokens: int
) -> list[Leak]:
    """The problems found in (document id, text) pairs, each once per document and part.

    A solution counts as found where `window_tokens` of its tokens agree in a row; a shorter one,
    down to half a window, where all of it does. So do descriptions, in words.
    """
    programs, descriptions = _index(problems, window_tokens)
    found: dict[tuple[str, str, str], Leak] = {}
    for document_id, text in texts:
        for tokens, patterns in (
            (_program(text), programs),
            (_words(text), descriptions),
        ):
            for pattern, start in _matches(tokens, patterns):
                end = tokens.ends[start + pattern.length - 1]
                excerpt = tokens.content[tokens.starts[start] : end].decode(errors="replace")
                found.setdefault(
                    (document_id, pattern.problem_id, pattern.part),
                    Leak(
                        document_id=document_id,
                        problem_id=pattern.problem_id,
                        part=pattern.part,
                        evidence=" ".join(excerpt.split())[:_EVIDENCE_CHARS],
                    ),
                )
    return [found[key] for key in sorted(found)]


def refuse_leaks(
    texts: Iterable[tuple[str, str]], problems: pa.Table, *, window_tokens: int
) -> None:
    """ContaminatedError if any text holds a problem; it names documents, problems and evidence."""
    found = leaks(texts, problems, window_tokens=window_tokens)
    if found:
        shown = "; ".join(
            f"document {leak.document_id} holds the {leak.part} of {leak.problem_id}: "
            f"{leak.evidence!r}"
            for leak in found[:3]
        )
        raise ContaminatedError(
            f"{len(found)} benchmark leaks: {shown}. Remove these documents, and find out how "
            "they passed contamination"
        )


def _index(
    problems: pa.Table, window: int
) -> tuple[Sequence[_Patterns], Sequence[_Patterns]]:
    programs: list[tuple[_Pattern, int]] = []
    descriptions: list[tuple[_Pattern, int]] = []
    rows = problems.select(["problem_id", "prompt", "solution"]).to_pylist()
    for row in sorted(rows, key=lambda row: str(row["problem_id"])):
        solution = _program(row["solution"])
        if len(solution.codes) < window:
            whole = _program(signature(row["prompt"]) + row["solution"])
            programs += _patterns(row["problem_id"], "solution", whole, window)
        programs += _patterns(row["problem_id"], "solution", solution, window)
        for text in docstrings(row["prompt"]):
            descriptions += _patterns(row["problem_id"], "description", _words(text), window)
    return _by_length(programs), _by_length(descriptions)


def _patterns(
    problem_id: str, part: str, tokens: _Tokens, window: int
) -> Iterator[tuple[_Pattern, int]]:
    """Every window of a problem's tokens, or all of them, with the length and hash of its key."""
    count = len(tokens.codes)
    if count >= window:
        for hashed in set(_window_hashes(tokens, window).tolist()):
            yield _Pattern(problem_id, part, window, hashed), hashed
    elif count >= (window + 1) // 2:
        key = int(_window_hashes(tokens, (window + 1) // 2)[0])
        yield _Pattern(problem_id, part, count, int(_window_hashes(tokens, count)[0])), key


def _by_length(patterns: Sequence[tuple[_Pattern, int]]) -> list[_Patterns]:
    raise NotImplementedError
