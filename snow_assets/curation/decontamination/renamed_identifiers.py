"""Detect benchmark programs with renamed identifiers, and descriptions with other punctuation.

The filter's implementation of the rule of `gate`. It shares the constants
(`rule.py`) with the gate and no matcher: compiled code reads the tokens and searches
windows by their shape, in which all names are equal; then names are compared by their order of
first occurrence in the window.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import Bytes, buffers
from snow_assets.curation.decontamination import token_scan
from snow_assets.curation.decontamination.problem_texts import docstrings, prompt_without_docstrings
from snow_assets.curation.decontamination.rule import (
    DESCRIPTION,
    MIN_WORD_SHARE,
    RENAMED,
    fixed_names,
)
from snow_assets.curation.decontamination.token_scan import NAME, OTHER
from snow_assets.curation.hashing import Hashes

_EVIDENCE_CHARS = 200


class RenamedHit(NamedTuple):
    """A benchmark problem in a text, the method, and the matching excerpt."""

    problem_id: str
    method: str
    evidence: str


class _Pattern(NamedTuple):
    problem_id: str
    normalized: tuple[int, ...]  # the window's tokens, names as -1, -2, ... by first occurrence


@dataclass(frozen=True)
class _Tokens:
    codes: Hashes
    kinds: Bytes
    spans: token_scan.Spans

    def normalized(self, start: int, length: int) -> tuple[int, ...]:
        """A window's codes, in which names are -1, -2, ... by their first occurrence."""
        name_codes: dict[int, int] = {}
        window = slice(start, start + length)
        return tuple(
            [
                name_codes.setdefault(code, -1 - len(name_codes)) if kind == NAME else code
                for code, kind in zip(
                    self.codes[window].tolist(), self.kinds[window].tolist(), strict=True
                )
            ]
        )

    def shapes(self, length: int) -> Hashes:
        hashes = np.zeros(len(self.codes) + 1, np.uint64)
        count = token_scan.shape_hashes(self.codes, self.kinds, length, hashes)
        return hashes[:count]

    def num_words(self, start: int, length: int) -> int:
        return int(np.count_nonzero(self.kinds[start : start + length] != OTHER))


@dataclass(frozen=True)
class _Patterns:
    """Patterns of programs or of descriptions, by the shape of a window's prefix."""

    is_program: bool
    by_shape: Mapping[int, Mapping[int, Sequence[_Pattern]]]  # tokens of the shape -> shape
    shapes: token_scan.Shapes

    @classmethod
    def of(cls, by_shape: dict[int, dict[int, list[_Pattern]]], *, is_program: bool) -> "_Patterns":
        hashes = {shape for group in by_shape.values() for shape in group}
        shapes = token_scan.Shapes.of(hashes, long=max(by_shape), short=min(by_shape))
        return cls(is_program, by_shape, shapes)

    def hits(self, content: bytes) -> Iterator[tuple[str, int, int]]:
        """Problem, start and end (in bytes) of each matching window."""
        tokens = _tokens(content, is_program=self.is_program)
        for key_tokens, group in self.by_shape.items():
            shapes = tokens.shapes(key_tokens)
            starts = np.zeros(len(shapes), np.int64)
            num_starts = token_scan.indices_in(shapes, self.shapes.bits, self.shapes.hashes, starts)
            for start in starts[:num_starts].tolist():
                for pattern in group.get(int(shapes[start]), ()):
                    length = len(pattern.normalized)
                    if tokens.normalized(start, length) == pattern.normalized:
                        end = tokens.spans[start + length - 1, 1]
                        yield pattern.problem_id, int(tokens.spans[start, 0]), int(end)


@dataclass(frozen=True)
class RenamedIndex:
    """An index of problems for matching. Memory: `window` numbers per token of the problems."""

    programs: _Patterns
    descriptions: _Patterns

    @classmethod
    def of(cls, problems: pa.Table, *, window: int) -> "RenamedIndex":
        """Index a `problems` table: windows of `window` tokens; shorter texts of at least half a
        window as a whole."""
        programs: dict[int, dict[int, list[_Pattern]]] = {window: {}, window // 2: {}}
        descriptions: dict[int, dict[int, list[_Pattern]]] = {window: {}, window // 2: {}}
        rows = problems.select(["problem_id", "prompt", "solution"]).to_pylist()
        for row in sorted(rows, key=lambda row: str(row["problem_id"])):
            name, solution = row["problem_id"], row["solution"]
            tokens = _tokens(solution.encode(), is_program=True)
            _add(programs, name, tokens, window)
            if solution and len(tokens.codes) < window:  # a signature alone is no program
                whole = (prompt_without_docstrings(row["prompt"]) + solution).encode()
                _add(programs, name, _tokens(whole, is_program=True), window)
            for text in docstrings(row["prompt"]):
                words = _tokens(text.lower().encode(), is_program=False)
                _add(descriptions, name, words, window)
        return cls(
            _Patterns.of(programs, is_program=True), _Patterns.of(descriptions, is_program=False)
        )

    def flag_programs(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """A mask of the texts that may contain a program; `hits` finds none in the others."""
        data, offsets = buffers(texts)
        flags = np.zeros(len(texts), dtype=np.bool_)
        token_scan.flag_programs(data, offsets, *_fixed(), self.programs.shapes, flags)
        return flags

    def hits(self, text: str) -> list[RenamedHit]:
        """Benchmark problems in a text, once per problem and method."""
        hits: dict[tuple[str, str], RenamedHit] = {}
        for method, patterns, content in (
            (RENAMED, self.programs, text.encode()),
            (DESCRIPTION, self.descriptions, text.lower().encode()),
        ):
            for problem_id, start, end in patterns.hits(content):
                if (problem_id, method) not in hits:
                    excerpt = " ".join(content[start:end].decode(errors="replace").split())
                    evidence = excerpt[:_EVIDENCE_CHARS]
                    hits[problem_id, method] = RenamedHit(problem_id, method, evidence)
        return [hits[key] for key in sorted(hits)]


def _add(
    by_shape: dict[int, dict[int, list[_Pattern]]], problem_id: str, tokens: _Tokens, window: int
) -> None:
    """Add the windows of a problem's tokens with enough words; of a short text, all tokens."""
    count = len(tokens.codes)
    length = min(count, window)
    if length < window // 2:
        return
    key_tokens = window if count >= window else window // 2
    shapes = tokens.shapes(key_tokens)
    for start in range(count - length + 1):
        if tokens.num_words(start, length) >= MIN_WORD_SHARE * length:
            pattern = _Pattern(problem_id, tokens.normalized(start, length))
            group = by_shape[key_tokens].setdefault(int(shapes[start]), [])
            if pattern not in group:
                group.append(pattern)


def _tokens(content: bytes, *, is_program: bool) -> _Tokens:
    text = np.frombuffer(content, dtype=np.uint8)
    codes, kinds = np.zeros(len(text) + 1, np.uint64), np.zeros(len(text) + 1, np.uint8)
    spans = np.zeros((len(text) + 1, 2), np.int64)
    if is_program:
        count = token_scan.program_tokens(text, *_fixed(), codes, kinds, spans)
    else:
        count = token_scan.description_tokens(text, codes, kinds, spans)
    return _Tokens(codes[:count], kinds[:count], spans[:count])


_FIXED: list[tuple[Hashes, Bytes]] = []


def _fixed() -> tuple[Hashes, Bytes]:
    """The hashes of the fixed names, computed once by the tokenizer itself."""
    if not _FIXED:
        empty = np.zeros(0, np.uint64)
        text = np.frombuffer(" ".join(sorted(fixed_names())).encode(), dtype=np.uint8)
        codes, kinds = np.zeros(len(text), np.uint64), np.zeros(len(text), np.uint8)
        spans = np.zeros((len(text), 2), np.int64)
        count = token_scan.program_tokens(
            text, empty, token_scan.bits_of(empty), codes, kinds, spans
        )
        hashes = np.unique(codes[:count])
        _FIXED.append((hashes, token_scan.bits_of(hashes)))
    return _FIXED[0]
