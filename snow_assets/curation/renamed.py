"""Texts that hold a benchmark's program under other names, or its description in other marks.

The filter's side of what `leaks` refuses later. It shares the rule (`leak_rule`) with the gate and
no matcher: tokens are read by compiled code, windows are found by their shape, in which all names
are alike, and then compared name by name as they are numbered from the window's beginning.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation import token_scan
from snow_assets.curation.columns import Bytes, buffers
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.leak_rule import DESCRIPTION, MIN_WORD_SHARE, RENAMED, fixed_names
from snow_assets.curation.problem_texts import docstrings, signature
from snow_assets.curation.token_scan import NAME, OTHER

_EVIDENCE_CHARS = 200


class RenamedHit(NamedTuple):
    """A problem in a text, how it was found, and what of the text agrees."""

    problem_id: str
    method: str
    evidence: str


class _Pattern(NamedTuple):
    problem_id: str
    numbered: tuple[int, ...]  # the window's tokens, its names numbered from -1 down


@dataclass(frozen=True)
class _Tokens:
    codes: Hashes
    kinds: Bytes
    spans: token_scan.Spans

    def numbered(self, start: int, length: int) -> tuple[int, ...]:
        """A window's codes; of a name, the number of its first place among the window's names."""
        numbers: dict[int, int] = {}
        window = slice(start, start + length)
        return tuple(
            [
                numbers.setdefault(code, -1 - len(numbers)) if kind == NAME else code
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
    """What to look for in programs, or in descriptions: by the shape of a window's beginning."""

    is_program: bool
    by_shape: Mapping[int, Mapping[int, Sequence[_Pattern]]]  # tokens of the shape -> shape
    shapes: token_scan.Shapes

    @classmethod
    def of(cls, by_shape: dict[int, dict[int, list[_Pattern]]], *, is_program: bool) -> "_Patterns":
        hashes = {shape for group in by_shape.values() for shape in group}
        shapes = token_scan.Shapes.of(hashes, long=max(by_shape), short=min(by_shape))
        return cls(is_program, by_shape, shapes)

    def hits(self, content: bytes) -> Iterator[tuple[str, int, int]]:
        """Problem, start and end in bytes of every window that agrees."""
        tokens = _tokens(content, is_program=self.is_program)
        for key_tokens, group in self.by_shape.items():
            shapes = tokens.shapes(key_tokens)
            places = np.zeros(len(shapes), np.int64)
            count = token_scan.places_in(shapes, self.shapes.bits, self.shapes.hashes, places)
            for place in places[:count].tolist():
                for pattern in group.get(int(shapes[place]), ()):
                    length = len(pattern.numbered)
                    if tokens.numbered(place, length) == pattern.numbered:
                        end = tokens.spans[place + length - 1, 1]
                        yield pattern.problem_id, int(tokens.spans[place, 0]), int(end)


@dataclass(frozen=True)
class RenamedIndex:
    """Problems prepared for matching. Memory: `window` numbers per token of the problems."""

    programs: _Patterns
    descriptions: _Patterns

    @classmethod
    def of(cls, problems: pa.Table, *, window: int) -> "RenamedIndex":
        """Index a `problems` table: windows of `window` tokens; shorter texts, down to half a
        window, as a whole."""
        programs: dict[int, dict[int, list[_Pattern]]] = {window: {}, window // 2: {}}
        descriptions: dict[int, dict[int, list[_Pattern]]] = {window: {}, window // 2: {}}
        rows = problems.select(["problem_id", "prompt", "solution"]).to_pylist()
        for row in sorted(rows, key=lambda row: str(row["problem_id"])):
            name, solution = row["problem_id"], row["solution"]
            tokens = _tokens(solution.encode(), is_program=True)
            _add(programs, name, tokens, window)
            if len(tokens.codes) < window:
                whole = (signature(row["prompt"]) + solution).encode()
                _add(programs, name, _tokens(whole, is_program=True), window)
            for text in docstrings(row["prompt"]):
                words = _tokens(text.lower().encode(), is_program=False)
                _add(descriptions, name, words, window)
        return cls(
            _Patterns.of(programs, is_program=True), _Patterns.of(descriptions, is_program=False)
        )

    def flag_programs(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Which texts may hold a program: `hits` finds none in the others."""
        data, offsets = buffers(texts)
        flags = np.zeros(len(texts), dtype=np.bool_)
        token_scan.flag_programs(data, offsets, *_fixed(), self.programs.shapes, flags)
        return flags

    def hits(self, text: str) -> list[RenamedHit]:
        """The problems that a text holds, each once per method."""
        found: dict[tuple[str, str], RenamedHit] = {}
        for method, patterns, content in (
            (RENAMED, self.programs, text.encode()),
            (DESCRIPTION, self.descriptions, text.lower().encode()),
        ):
            for problem_id, start, end in patterns.hits(content):
                if (problem_id, method) not in found:
                    excerpt = " ".join(content[start:end].decode(errors="replace").split())
                    evidence = excerpt[:_EVIDENCE_CHARS]
                    found[problem_id, method] = RenamedHit(problem_id, method, evidence)
        return [found[key] for key in sorted(found)]


def _add(
    by_shape: dict[int, dict[int, list[_Pattern]]], problem_id: str, tokens: _Tokens, window: int
) -> None:
    """The windows of a problem's tokens that say enough; of a short text, all of it."""
    count = len(tokens.codes)
    length = min(count, window)
    if length < window // 2:
        return
    key_tokens = window if count >= window else window // 2
    shapes = tokens.shapes(key_tokens)
    for start in range(count - length + 1):
        if tokens.num_words(start, length) >= MIN_WORD_SHARE * length:
            pattern = _Pattern(problem_id, tokens.numbered(start, length))
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
    """The hashes of the fixed names, computed once by the tokens' own code."""
    if not _FIXED:
        nothing = np.zeros(0, np.uint64)
        text = np.frombuffer(" ".join(sorted(fixed_names())).encode(), dtype=np.uint8)
        codes, kinds = np.zeros(len(text), np.uint64), np.zeros(len(text), np.uint8)
        spans = np.zeros((len(text), 2), np.int64)
        count = token_scan.program_tokens(
            text, nothing, token_scan.bits_of(nothing), codes, kinds, spans
        )
        hashes = np.unique(codes[:count])
        _FIXED.append((hashes, token_scan.bits_of(hashes)))
    return _FIXED[0]
