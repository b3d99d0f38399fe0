"""Contamination gate: detect benchmark solutions (identifiers renamed or not) and descriptions.

Later stages apply it to seeds, generated files and packs, and fail on a hit. It shares no matcher
with `prefilter` (docs/decisions/0006-filter-and-gate.md): programs are compared as tokens
without names (see `program_tokens`), descriptions as words.

Not detected: the same algorithm in other statements or another order; a solution translated to
another language; a solution of fewer tokens than half a window, unless its description is in the
text; a text cut into pieces shorter than a window.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from snow_assets.curation.decontamination.problem_texts import docstrings, prompt_without_docstrings
from snow_assets.curation.decontamination.program_tokens import (
    Tokens,
    description_tokens,
    program_tokens,
    window_hashes,
    words_per_window,
)
from snow_assets.curation.decontamination.rule import MIN_WORD_SHARE
from snow_assets.curation.hashing import HashSet

_EVIDENCE_CHARS = 200


class ContaminatedError(ValueError):
    """A text for training contains a benchmark problem."""


@dataclass(frozen=True, kw_only=True)
class GateHit:
    """A benchmark problem in a document, and the matching excerpt."""

    document_id: str
    problem_id: str
    part: str  # solution or description
    evidence: str


@dataclass(frozen=True, order=True)
class _Pattern:
    """An n-gram of a problem's tokens; texts are searched for its key, the hash of its prefix."""

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


def gate_hits(
    texts: Iterable[tuple[str, str]], problems: pa.Table, *, window_tokens: int
) -> list[GateHit]:
    """Benchmark problems in (document id, text) pairs, once per document, problem and part.

    A solution matches where `window_tokens` consecutive tokens agree; a shorter one, of at least
    half a window, where all its tokens do. Descriptions are matched the same way, by words.
    """
    programs, descriptions = _index(problems, window_tokens)
    hits: dict[tuple[str, str, str], GateHit] = {}
    for document_id, text in texts:
        for tokens, groups in (
            (program_tokens(text), programs),
            (description_tokens(text), descriptions),
        ):
            for start, pattern in _matches(tokens, groups):
                hit = GateHit(
                    document_id=document_id,
                    problem_id=pattern.problem_id,
                    part=pattern.part,
                    evidence=tokens.excerpt(start, pattern.length)[:_EVIDENCE_CHARS],
                )
                hits.setdefault((document_id, hit.problem_id, hit.part), hit)
    return [hits[key] for key in sorted(hits)]


def assert_uncontaminated(
    texts: Iterable[tuple[str, str]],
    problems: pa.Table,
    *,
    window_tokens: int,
    exempt: Collection[str] = (),
) -> None:
    """Raise ContaminatedError, with document, problem and evidence, if a text contains a problem.

    `exempt`: ids of documents that the recipe exempts.
    """
    hits = [
        hit
        for hit in gate_hits(texts, problems, window_tokens=window_tokens)
        if hit.document_id not in exempt
    ]
    if hits:
        examples = "; ".join(
            f"document {hit.document_id} holds the {hit.part} of {hit.problem_id}: {hit.evidence!r}"
            for hit in hits[:3]
        )
        raise ContaminatedError(
            f"{len(hits)} benchmark leaks: {examples}. Materialize contamination and clean_corpus "
            "again, which drop such documents; or exempt them with a reason in the recipe's "
            "curation.contamination_exemptions"
        )


def _index(problems: pa.Table, window: int) -> tuple[Sequence[_Patterns], Sequence[_Patterns]]:
    """The patterns of programs and of descriptions."""
    programs: list[_Pattern] = []
    descriptions: list[_Pattern] = []
    for row in problems.select(["problem_id", "prompt", "solution"]).to_pylist():
        solution = program_tokens(row["solution"])
        programs += _patterns(row["problem_id"], "solution", solution, window)
        if len(solution.codes) < window:
            whole = program_tokens(prompt_without_docstrings(row["prompt"]) + row["solution"])
            programs += _patterns(row["problem_id"], "solution", whole, window)
        for text in docstrings(row["prompt"]):
            words = description_tokens(text)
            descriptions += _patterns(row["problem_id"], "description", words, window)
    return _group_by_key(programs, window), _group_by_key(descriptions, window)


def _patterns(problem_id: str, part: str, tokens: Tokens, window: int) -> Iterator[_Pattern]:
    """Each window of a problem's tokens; if shorter, all tokens, keyed by half a window."""
    count = len(tokens.codes)
    if count >= window:
        has_words = words_per_window(tokens, window) >= MIN_WORD_SHARE * window
        for hashed in set(window_hashes(tokens, window)[has_words].tolist()):
            yield _Pattern(problem_id, part, hashed, window, hashed)
    elif count >= window // 2 and words_per_window(tokens, count)[0] >= MIN_WORD_SHARE * count:
        key = int(window_hashes(tokens, window // 2, stop=1)[0])
        hashed = int(window_hashes(tokens, count)[0])
        yield _Pattern(problem_id, part, key, count, hashed)


def _group_by_key(patterns: Sequence[_Pattern], window: int) -> list[_Patterns]:
    groups = []
    for key_tokens, is_whole in ((window, False), (window // 2, True)):
        by_key: dict[int, list[_Pattern]] = {}
        for pattern in sorted(patterns):
            if (pattern.length < window) == is_whole:
                by_key.setdefault(pattern.key, []).append(pattern)
        groups.append(_Patterns(key_tokens, HashSet.of(by_key), by_key))
    return groups


def _matches(tokens: Tokens, groups: Sequence[_Patterns]) -> Iterator[tuple[int, _Pattern]]:
    """Token index and pattern of each match."""
    for group in groups:
        hashes = window_hashes(tokens, group.key_tokens)
        for start in group.keys.indices_in(hashes).tolist():
            for pattern in group.by_key[int(hashes[start])]:
                if pattern.length == group.key_tokens or np.array_equal(
                    window_hashes(tokens, pattern.length, start=start, stop=start + 1),
                    [np.uint64(pattern.hashed)],
                ):
                    yield start, pattern
