"""Verify the benchmarks' files and canonical solutions: `make suites`.

Each benchmark whose file is there is parsed, and its canonical solutions run in the sandbox. Those
that fail are listed: an evaluation excludes their problems, or refuses the benchmark.
`make suites FILES=FOLDER BENCHMARK_PYTHON=INTERPRETER` reads that folder instead of the recipe's
`benchmark_files`, and runs programs that need libraries with that interpreter instead of
`benchmark_python`.
"""

import os
import sys
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.problems import read_problems
from snow_assets.corpus.untrusted import printable
from snow_assets.evaluation.execution import (
    failure_reason,
    raise_on_canonical_failures,
    run_canonical,
    run_toolchains,
)
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.evaluation.programs import problem_test
from snow_assets.home import configured_url, home
from snow_assets.recipe import chosen_recipe
from snow_assets.runtime import sandbox


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A benchmark's number of problems, why some would be excluded, and why it cannot be used."""

    num_problems: int
    num_canonical: int  # canonical solutions that are published
    excluded: dict[str, str]  # problem id -> why its canonical solution fails here
    refusal: str | None  # None: an evaluation judges the other problems


def verify(
    name: str, files: str | None, *, seconds: float, benchmark_python: str | None = None
) -> Verification:
    """Parse a benchmark and run its canonical solutions, one per core, each for at most `seconds`.

    ValueError if its file is missing or not what its declaration says, or the interpreter of its
    environment is.
    """
    problems = [problem_test(problem_from_row(row)) for row in read_problems([name], files)]
    run = partial(sandbox.run_all, num_cpus=os.cpu_count() or 1)
    environment = sandbox.PythonEnvironment()
    if BENCHMARKS[name].test_kind == "unittest":
        if benchmark_python is None:
            raise ValueError(
                "its programs import libraries of an environment of their own: create one "
                "(docs/benchmarks.md), and name its interpreter as BENCHMARK_PYTHON, or in the "
                "recipe's operation.benchmark_python"
            )
        environment = sandbox.python_environment(benchmark_python)
    canonical = run_canonical(problems, run, timeout_seconds=seconds, environment=environment)
    refusal = None
    try:
        raise_on_canonical_failures(problems, canonical, timeout_seconds=seconds)
    except ValueError as error:
        refusal = str(error)
    toolchains = run_toolchains(problems, run, timeout_seconds=seconds)
    if toolchains.missing:
        refusal = "; ".join(toolchains.missing.values())
    return Verification(
        num_problems=len(problems),
        num_canonical=sum(bool(problem.solution) for problem in problems),
        excluded={name: failure_reason(result) for name, result in canonical.failures.items()},
        refusal=refusal,
    )


def main(files: str | None, python: str | None) -> int:
    """Print a line per benchmark; 1 if one that the recipe names cannot be used."""
    recipe = chosen_recipe()
    configured = files or recipe.operation.benchmark_files
    folder = configured_url(configured, lake=str(home() / "lake")) if configured else None
    seconds = recipe.evaluation.timeout_seconds * recipe.evaluation.timeout_factor
    isolation = sandbox.probe()
    if not isolation.available:
        Console(stderr=True, soft_wrap=True).print(f"nothing was run: {isolation.reason}")
        return 1
    console = Console(highlight=False, markup=False, soft_wrap=True)
    unusable = set()
    for name, benchmark in BENCHMARKS.items():
        try:
            result = verify(
                name,
                folder,
                seconds=seconds,
                benchmark_python=python or recipe.operation.benchmark_python,
            )
        except ValueError as error:
            unusable.add(name)
            console.print(f"{name}: {error}")
            continue
        passed = f"{result.num_canonical - len(result.excluded)} canonical solutions pass"
        if not result.num_canonical:
            is_run = "are not run" if result.refusal else "are run"
            passed = f"without canonical solutions; programs of {benchmark.language} {is_run} here"
        console.print(
            f"{name}: {result.num_problems} problems of {benchmark.source.name}, {passed}"
        )
        for problem_id, reason in result.excluded.items():
            console.print(f"  {problem_id}: {printable(reason)}")
        if result.refusal:
            unusable.add(name)
            console.print(f"  {printable(result.refusal)}")
    return int(bool(unusable & set(recipe.evaluation.benchmarks)))


if __name__ == "__main__":
    _files, _python = (*sys.argv[1:], "", "")[:2]
    sys.exit(main(_files or None, _python or None))
