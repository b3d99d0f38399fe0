"""Contamination gate: detect benchmark solutions (identifiers renamed or not) and descriptions.

Later stages apply it to seeds, generated files and packs, and fail on a hit. It shares no matcher
with `prefilter` (docs/decisions/0006-filter-and-gate.md): programs are compared as tokens
without names (see `program_tokens`), descriptions as words.

Not detected: the same algorithm in other statements or another order; a solution translated to
another language; a solution of fewer tokens than half a window, unless its description is in the
text; a text cut into pieces shorter than a window.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from snow_assets.curation.decontamination.gate_scan import SearchedText, TextScan

_EVIDENCE_CHARS = 200
_TEXTS_AT_ONCE = 256


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


@dataclass(frozen=True)
class Gate:
    """Finds a table of problems in texts; see the module."""

    programs: Sequence[_Patterns]
    descriptions: Sequence[_Patterns]
    scan: TextScan

    @classmethod
    def of(cls, problems: pa.Table, *, window_tokens: int) -> Gate:
        """A solution matches where `window_tokens` consecutive tokens agree; a shorter one, of at
        least half a window, where all its tokens do. Descriptions are matched alike, by words. Of a
        problem without a solution the description alone: its signature occurs in other programs."""
        from snow_assets.curation.decontamination.gate_scan import TextScan

        programs: list[_ProblemText] = []
        descriptions: list[_ProblemText] = []
        for row in problems.select(["problem_id", "prompt", "solution"]).to_pylist():
            problem_id, solution = row["problem_id"], row["solution"]
            if solution:
                programs.append(_ProblemText.of(problem_id, "solution", solution, window_tokens))
            if solution and len(programs[-1].tokens.codes) < window_tokens:
                whole = prompt_without_docstrings(row["prompt"]) + solution
                programs.append(_ProblemText.of(problem_id, "solution", whole, window_tokens))
            descriptions += [
                _ProblemText.of(problem_id, "description", text, window_tokens)
                for text in docstrings(row["prompt"])
            ]
        return cls(
            _group_by_key(programs, window_tokens),
            _group_by_key(descriptions, window_tokens),
            TextScan.of(
                [problem.searched for problem in programs],
                [problem.searched for problem in descriptions],
                window_tokens=window_tokens,
            ),
        )

    def hits(self, document_id: str, text: str) -> list[GateHit]:
        """Problems in a text, once per problem and part; by `program_tokens`, not compiled."""
        hits: dict[tuple[str, str], GateHit] = {}
        for tokens, groups in (
            (program_tokens(text), self.programs),
            (description_tokens(text), self.descriptions),
        ):
            for start, pattern in _matches(tokens, groups):
                hit = GateHit(
                    document_id=document_id,
                    problem_id=pattern.problem_id,
                    part=pattern.part,
                    evidence=tokens.excerpt(start, pattern.length)[:_EVIDENCE_CHARS],
                )
                hits.setdefault((hit.problem_id, hit.part), hit)
        return list(hits.values())

    def search(self, texts: Iterable[tuple[str, str]]) -> list[GateHit]:
        """Benchmark problems in (document id, text) pairs, once per document, problem and part.

        Memory: 256 texts.
        """
        hits: dict[tuple[str, str, str], GateHit] = {}
        remaining = iter(texts)
        while batch := list(itertools.islice(remaining, _TEXTS_AT_ONCE)):
            flags = self.scan.flags(pa.array([text for _, text in batch], pa.large_string()))
            for (document_id, text), is_flagged in zip(batch, flags.tolist(), strict=True):
                for hit in self.hits(document_id, text) if is_flagged else ():
                    hits.setdefault((document_id, hit.problem_id, hit.part), hit)
        return [hits[key] for key in sorted(hits)]


def gate_hits(
    texts: Iterable[tuple[str, str]], problems: pa.Table, *, window_tokens: int
) -> list[GateHit]:
    """Benchmark problems in texts, see `Gate.search`; for a single search of them."""
    return Gate.of(problems, window_tokens=window_tokens).search(texts)


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
    raise_if_contaminated(
        hit
        for hit in gate_hits(texts, problems, window_tokens=window_tokens)
        if hit.document_id not in exempt
    )


def raise_if_contaminated(hits: Iterable[GateHit]) -> None:
    """Raise ContaminatedError, with document, problem and evidence, if there are hits."""
    hit_list = list(hits)
    if hit_list:
        examples = "; ".join(
            f"document {hit.document_id} holds the {hit.part} of {hit.problem_id}: {hit.evidence!r}"
            for hit in hit_list[:3]
        )
        raise ContaminatedError(
            f"{len(hit_list)} benchmark leaks: {examples}. Materialize contamination and "
            "clean_corpus again, which drop such documents; or exempt them with a reason in the "
            "recipe's curation.contamination_exemptions"
        )


@dataclass(frozen=True)
class _ProblemText:
    """A problem's solution or description: its tokens, and which windows of them are searched."""

    problem_id: str
    part: str
    tokens: Tokens
    searched: SearchedText

    @classmethod
    def of(cls, problem_id: str, part: str, text: str, window: int) -> _ProblemText:
        """Each window of the tokens that holds enough words; if shorter, all tokens."""
        from snow_assets.curation.decontamination.gate_scan import SearchedText

        tokens = program_tokens(text) if part == "solution" else description_tokens(text)
        length = min(window, len(tokens.codes))
        starts = np.zeros(0, np.int64)
        if length >= window // 2:
            has_words = words_per_window(tokens, length) >= MIN_WORD_SHARE * length
            starts = np.flatnonzero(has_words)
        return cls(problem_id, part, tokens, SearchedText(text, starts, length))

    def patterns(self, window: int) -> Iterator[_Pattern]:
        """Of each window; of a shorter text, keyed by half a window."""
        starts, length = self.searched.starts, self.searched.length
        if length == window:
            hashes = window_hashes(self.tokens, window)
            for hashed in set(hashes[starts].tolist()):
                yield _Pattern(self.problem_id, self.part, hashed, window, hashed)
        elif len(starts):
            key = int(window_hashes(self.tokens, window // 2, stop=1)[0])
            hashed = int(window_hashes(self.tokens, length)[0])
            yield _Pattern(self.problem_id, self.part, key, length, hashed)


def _group_by_key(texts: Iterable[_ProblemText], window: int) -> list[_Patterns]:
    patterns = sorted(pattern for text in texts for pattern in text.patterns(window))
    groups = []
    for key_tokens, is_whole in ((window, False), (window // 2, True)):
        by_key: dict[int, list[_Pattern]] = {}
        for pattern in patterns:
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
