"""Deterministic samples of held-out documents and problems, the same for each checkpoint."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.storage import shards


@dataclass(frozen=True, kw_only=True)
class HeldOutDocument:
    """A held-out document, truncated to whole characters."""

    document_id: str
    repository: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A benchmark's problem, its prompt without the newlines at its end.

    The paper strips them too (arXiv 2409.02326, section 3.1). They open the solution instead, so
    that prompt and solution together are the benchmark's text.
    """

    problem_id: str
    benchmark: str
    subset: str  # `steered` (validation half, gates the annotator) or `unsteered` (test half)
    prompt: str
    num_stripped_newlines: int
    solution: str
    test: str  # calls `candidate`
    entry_point: str
    stop_sequences: tuple[str, ...]


def sample_ids(ids: Iterable[str], *, num: int | None, seed: int) -> list[str]:
    """The first `num` ids by the hash of seed and id; all of them if None."""
    sorted_ids = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return sorted_ids if num is None else sorted_ids[:num]


def truncate_utf8(text: str, *, max_bytes: int) -> str:
    """Truncate to at most `max_bytes` of UTF-8, without splitting a character."""
    return text.encode()[:max_bytes].decode(errors="ignore")


def held_out_documents(
    clean_folder: str, *, num: int, max_bytes: int, seed: int
) -> Iterator[HeldOutDocument]:
    """Sampled held-out documents of a language, in the corpus's order.

    Memory: ids of the held-out documents, and one batch of texts.
    """
    rows = kept_rows(clean_folder, ["document_id", "num_tokens"], split="held_out")
    ids = sample_ids(rows.filter(pl.col("num_tokens") > 0)["document_id"], num=num, seed=seed)
    matching = pl.Series("document_id", ids, pl.String).to_frame()
    columns = ("document_id", "repository", "text")
    for batch in kept_documents(clean_folder, split="held_out", columns=columns, matching=matching):
        for row in batch.to_pylist():
            yield HeldOutDocument(
                document_id=row["document_id"],
                repository=row["repository"],
                text=truncate_utf8(row["text"], max_bytes=max_bytes),
            )


def problem_from_row(row: dict[str, Any]) -> Problem:
    """Convert a row of `benchmark_problems`; ValueError if its benchmark is not declared."""
    benchmark = benchmark_named(row["benchmark"])
    prompt = row["prompt"].rstrip("\n")
    newlines = row["prompt"][len(prompt) :]
    return Problem(
        problem_id=row["problem_id"],
        benchmark=row["benchmark"],
        subset="steered" if row["is_steered"] else "unsteered",
        prompt=prompt,
        num_stripped_newlines=len(newlines),
        solution=newlines + row["solution"],
        test=row["test"],
        entry_point=row["entry_point"],
        stop_sequences=benchmark.stop_sequences,
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
