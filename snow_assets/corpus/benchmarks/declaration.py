"""What a benchmark of programming problems states."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

TestKind = Literal["function", "unittest", "program"]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """An installed distribution that carries a benchmark's file as package data."""

    name: str  # never an exemplar
    package: str
    path: str


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A benchmark's file as its project publishes it, in the recipe's `benchmark_files` folder."""

    name: str  # its path in that folder
    url: str
    license: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Problems to complete, each judged by a test.

    `parse` yields, from the file's uncompressed content, `problem_id` (`NAME/...`), `prompt`,
    `solution` (the canonical one, which continues the prompt; empty without `has_solutions`),
    `entry_point` (the function that is
    tested) and `test`, whose meaning is `test_kind`'s. `origin_id`, if it is there, is the problem
    of another benchmark that this one is made of: both are in the same half.

    Kinds of tests. "function": Python source that calls the function as `candidate`, and the
    canonical one by its name, in another process than the program. "unittest": Python source with
    a class `TestCases` that runs in the program's process, in the environment of
    `operation.benchmark_python`. "program": text of any language that follows the completion; both
    are a program that exits with 0 (`evaluation/toolchains.py`).
    """

    name: str
    source: Distribution | PublishedFile
    language: str  # of prompts, solutions and programs
    num_problems: int  # for plans, which read nothing
    parse: Callable[[bytes], Iterable[Mapping[str, str]]]
    stop_sequences: tuple[str, ...]  # a completion ends before the first one
    test_kind: TestKind = "function"

    @property
    def has_solutions(self) -> bool:
        """Whether canonical solutions are published: bits per byte and gates need them."""
        return self.test_kind != "program"
