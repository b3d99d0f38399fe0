"""Deterministic samples of benchmark problems, the same for each checkpoint."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.corpus.benchmarks.declaration import TestKind
from snow_assets.storage import shards

VALIDATION_HALF, TEST_HALF = "validation_half", "test_half"
"""The validation half of the problems gates the annotator; the test half only judges."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A benchmark's problem, its prompt without the newlines at its end.

    The paper strips them too (arXiv 2409.02326, section 3.1). They open the solution instead, so
    that prompt and solution together are the benchmark's text.
    """

    problem_id: str
    benchmark: str
    subset: str  # VALIDATION_HALF or TEST_HALF
    prompt: str
    num_stripped_newlines: int
    solution: str  # empty if none is published
    test: str  # of `test_kind`
    entry_point: str
    stop_sequences: tuple[str, ...]
    language: str = "python"
    test_kind: TestKind = "function"


def sample_ids(ids: Iterable[str], *, num: int | None, seed: int) -> list[str]:
    """The first `num` ids by the hash of seed and id; all of them if None."""
    sorted_ids = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return sorted_ids if num is None else sorted_ids[:num]


def problem_from_row(row: dict[str, Any]) -> Problem:
    """Convert a row of `benchmark_problems`; ValueError if its benchmark is not declared."""
    benchmark = benchmark_named(row["benchmark"])
    prompt = row["prompt"].rstrip("\n")
    newlines = row["prompt"][len(prompt) :]
    return Problem(
        problem_id=row["problem_id"],
        benchmark=row["benchmark"],
        subset=VALIDATION_HALF if row["is_validation"] else TEST_HALF,
        prompt=prompt,
        num_stripped_newlines=len(newlines),
        solution=newlines + row["solution"] if row["solution"] else "",
        test=row["test"],
        entry_point=row["entry_point"],
        stop_sequences=benchmark.stop_sequences,
        language=benchmark.language,
        test_kind=benchmark.test_kind,
    )


def sample_problems(
    folder: str, benchmarks: Sequence[str], *, num: int | None, seed: int
) -> list[Problem]:
    """`num` problems of each benchmark (None: all) of a `benchmark_problems` artifact.

    By benchmark, in hash order. ValueError names a benchmark without problems.
    """
    table: pa.Table = shards.read(folder, "problems")
    by_benchmark: dict[str, dict[str, Problem]] = {name: {} for name in benchmarks}
    for row in table.to_pylist():
        if row["benchmark"] in by_benchmark:
            by_benchmark[row["benchmark"]][row["problem_id"]] = problem_from_row(row)
    if missing := [name for name, problems in by_benchmark.items() if not problems]:
        raise ValueError(
            f"{folder} has no problems of {', '.join(missing)}: materialize benchmark_problems "
            "again"
        )
    return [
        problems[problem_id]
        for problems in by_benchmark.values()
        for problem_id in sample_ids(problems, num=num, seed=seed)
    ]
