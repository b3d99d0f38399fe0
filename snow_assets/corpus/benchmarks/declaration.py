"""What a benchmark of programming problems states."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Problems to complete, each judged by a test of one function.

    `read_problems` yields `problem_id` (`NAME/...`), `prompt`, `solution` (the canonical one, which
    continues the prompt), `test` (source) and `entry_point` (the function that is tested).
    """

    name: str
    distribution: str  # carries the problems; never an exemplar
    language: str  # of prompts and solutions; the sandbox runs Python
    num_problems: int  # for plans, which read nothing
    read_problems: Callable[[], Iterable[Mapping[str, str]]]
    test_call: str  # runs the test's source on `candidate`, the function
    stop_sequences: tuple[str, ...]  # a completion ends before the first one
