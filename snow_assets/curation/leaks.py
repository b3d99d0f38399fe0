"""The gate: does a text hold a benchmark's solution or description, identifiers renamed or not?

Later stages ask it about seeds, generated files and packs, and refuse. It shares no matcher with
`contamination` (docs/decisions/0006-filter-and-gate.md): programs are compared as tokens without
names (see `program_tokens`), descriptions as words.

Not found: a program of the same idea in other statements or another order; a solution translated
to another language; one of fewer tokens than half a window, unless its description stands beside
it; a text cut into pieces shorter than a window.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from snow_assets.curation.hashing import HashSet
from snow_assets.curation.leak_rule import MIN_WORD_SHARE
from snow_assets.curation.problem_texts import docstrings, signature
from snow_assets.curation.program_tokens import (
    Tokens,
    description_tokens,
    program_tokens,
    window_hashes,
    words_per_window,
)

_EVIDENCE_CHARS = 200


class ContaminatedError(ValueError):
    """A text that was to be used holds a benchmark problem."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A benchmark problem in a document, and what agrees."""

    document_id: str
    problem_id: str
    part: str  # solution or description
    evidence: str


@dataclass(frozen=True, order=True)
class _Pattern:
    """A run of a problem's tokens; texts are searched for the hash of its first ones, the key."""

    problem_id: str
    part: str
    key: int
    length: int
    hashed: int


@dataclass(frozen=True)
class _Patterns:
    key_tokens: int
    keys: HashSet
    by_key: Mapping[int, Sequence[_Pattern]]


def leaks(
    texts: Iterable[tuple[str, str]], problems: pa.Table, *, window_tokens: int
) -> list[Leak]:
    """The problems found in (document id, text) pairs, each once per document and part.

    A solution is found where `window_tokens` of its tokens agree in a row; a shorter one, down to
    half a window, where all of it does. Descriptions likewise, in words.
    """
    programs, descriptions = _index(problems, window_tokens)
    found: dict[tuple[str, str, str], Leak] = {}
    for document_id, text in texts:
        for tokens, groups in (
            (program_tokens(text), programs),
            (description_tokens(text), descriptions),
        ):
            for start, pattern in _matches(tokens, groups):
                leak = Leak(
                    document_id=document_id,
                    problem_id=pattern.problem_id,
                    part=pattern.part,
                    evidence=tokens.excerpt(start, pattern.length)[:_EVIDENCE_CHARS],
                )
                found.setdefault((document_id, leak.problem_id, leak.part), leak)
    return [found[key] for key in sorted(found)]


def refuse_leaks(
    texts: Iterable[tuple[str, str]],
    problems: pa.Table,
    *,
    window_tokens: int,
    exempt: Collection[str] = (),
) -> None:
    """ContaminatedError if any text holds a problem; it names document, problem and evidence.

    `exempt`: ids of documents that a person exempted.
    """
    found = [
        leak
        for leak in leaks(texts, problems, window_tokens=window_tokens)
        if leak.document_id not in exempt
    ]
    if found:
        shown = "; ".join(
            f"document {leak.document_id} holds the {leak.part} of {leak.problem_id}: "
            f"{leak.evidence!r}"
            for leak in found[:3]
        )
        raise ContaminatedError(
            f"{len(found)} benchmark leaks: {shown}. Materialize contamination and clean_corpus "
            "again, which drop such documents; or exempt them with a reason in the recipe's "
            "curation.contamination_exemptions"
        )


def _index(problems: pa.Table, window: int) -> tuple[Sequence[_Patterns], Sequence[_Patterns]]:
    """What to look for in programs, and what in descriptions."""
    programs: list[_Pattern] = []
    descriptions: list[_Pattern] = []
    for row in problems.select(["problem_id", "prompt", "solution"]).to_pylist():
        solution = program_tokens(row["solution"])
        programs += _patterns(row["problem_id"], "solution", solution, window)
        if len(solution.codes) < window:
            whole = program_tokens(signature(row["prompt"]) + row["solution"])
            programs += _patterns(row["problem_id"], "solution", whole, window)
        for text in docstrings(row["prompt"]):
            words = description_tokens(text)
            descriptions += _patterns(row["problem_id"], "description", words, window)
    return _grouped(programs, window), _grouped(descriptions, window)


def _patterns(problem_id: str, part: str, tokens: Tokens, window: int) -> Iterator[_Pattern]:
    """Every window of a problem's tokens; if there are fewer, all of them, keyed by a half."""
    count = len(tokens.codes)
    if count >= window:
        says = words_per_window(tokens, window) >= MIN_WORD_SHARE * window
        for hashed in set(window_hashes(tokens, window)[says].tolist()):
            yield _Pattern(problem_id, part, hashed, window, hashed)
    elif count >= window // 2 and words_per_window(tokens, count)[0] >= MIN_WORD_SHARE * count:
        key = int(window_hashes(tokens, window // 2, stop=1)[0])
        hashed = int(window_hashes(tokens, count)[0])
        yield _Pattern(problem_id, part, key, count, hashed)


def _grouped(patterns: Sequence[_Pattern], window: int) -> list[_Patterns]:
    groups = []
    for key_tokens, is_whole in ((window, False), (window // 2, True)):
        by_key: dict[int, list[_Pattern]] = {}
        for pattern in sorted(patterns):
            if (pattern.length < window) == is_whole:
                by_key.setdefault(pattern.key, []).append(pattern)
        groups.append(_Patterns(key_tokens, HashSet.of(by_key), by_key))
    return groups


def _matches(tokens: Tokens, groups: Sequence[_Patterns]) -> Iterator[tuple[int, _Pattern]]:
    """Where in a text patterns begin."""
    for group in groups:
        hashes = window_hashes(tokens, group.key_tokens)
        for start in group.keys.indices_in(hashes).tolist():
            for pattern in group.by_key[int(hashes[start])]:
                if pattern.length == group.key_tokens or np.array_equal(
                    window_hashes(tokens, pattern.length, start=start, stop=start + 1),
                    [np.uint64(pattern.hashed)],
                ):
                    yield start, pattern
