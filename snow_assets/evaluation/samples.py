"""Which held-out documents and which problems an evaluation reads: the same for each checkpoint."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.kept import decisions, kept_documents


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The beginning of a held-out document, whole characters only."""

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
    subset: str  # steered: the annotator's gate saw it; or unsteered
    prompt: str
    num_stripped_newlines: int
    solution: str
    test: str
    entry_point: str


def chosen(ids: Iterable[str], *, num: int | None, seed: int) -> list[str]:
    """The `num` ids that come first by the hash of seed and id; all of them if None."""
    ordered = sorted(ids, key=lambda each: hashlib.sha256(f"{seed}:{each}".encode()).digest())
    return ordered if num is None else ordered[:num]


def beginning(text: str, *, max_bytes: int) -> str:
    """As many characters as fit into `max_bytes` of UTF-8."""
    return text.encode()[:max_bytes].decode(errors="ignore")


def held_out(clean_folder: str, *, num: int, max_bytes: int, seed: int) -> Iterator[HeldOut]:
    """The chosen held-out documents of a language, in the corpus's order; none if it has none.

    Memory: ids of the held-out documents, and one batch of texts.
    """
    rows = decisions(clean_folder).select(["document_id", "split", "num_tokens"])
    mask = pc.and_(pc.equal(rows["split"], "held_out"), pc.greater(rows["num_tokens"], 0))
    ids = set(chosen(rows.filter(mask)["document_id"].to_pylist(), num=num, seed=seed))
    columns = ("document_id", "repository", "text")
    for batch in kept_documents(clean_folder, split="held_out", columns=columns):
        for row in batch.to_pylist():
            if row["document_id"] in ids:
                yield HeldOut(
                    document_id=row["document_id"],
                    repository=row["repository"],
                    text=beginning(row["text"], max_bytes=max_bytes),
                )


def problem(row: dict[str, Any]) -> Problem:
    """A row of `benchmark_problems`, made ready for a model."""
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
    )


def problems(folder: str, *, num: int | None, seed: int) -> list[Problem]:
    """The chosen problems of `benchmark_problems`, by their hashes."""
    table: pa.Table = shards.read(folder, "problems")
    by_id = {row["problem_id"]: problem(row) for row in table.to_pylist()}
    return [by_id[each] for each in chosen(by_id, num=num, seed=seed)]
