"""Verify the benchmarks' files and canonical solutions: `make suites`.

Each benchmark whose file is there is parsed, and its canonical solutions run in the sandbox.
`make suites FILES=FOLDER` looks in that folder instead of the recipe's `benchmark_files`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.problems import read_problems
from snow_assets.corpus.untrusted import printable
from snow_assets.evaluation.answers import build_program
from snow_assets.evaluation.contract import PASSED
from snow_assets.evaluation.execution import execution_of
from snow_assets.evaluation.problems import Problem, problem_from_row
from snow_assets.home import configured_url, home
from snow_assets.recipe import chosen_recipe
from snow_assets.runtime import sandbox


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A benchmark's number of problems, and why some cannot be used: problem id -> reason."""

    num_problems: int
    failures: dict[str, str]


def verify(name: str, files: str | None, *, seconds: float) -> Verification:
    """Parse a benchmark and run its canonical solutions, one per core, each for at most `seconds`.

    ValueError if its file is missing or not what its declaration says.
    """
    problems = [problem_from_row(row) for row in read_problems([name], files)]
    return Verification(
        num_problems=len(problems), failures=dict(_canonical_failures(problems, seconds))
    )


def _canonical_failures(problems: Sequence[Problem], seconds: float) -> Iterator[tuple[str, str]]:
    programs = [build_program(problem, problem.solution) for problem in problems]
    executions = [execution_of(program.solution, program, seconds) for program in programs]
    results = sandbox.run_all(executions, num_cpus=os.cpu_count() or 1)
    for problem, result in zip(problems, results, strict=True):
        if result.outcome != PASSED:
            yield problem.problem_id, f"{result.outcome}: {result.message.strip()[-200:]}"


def main(files: str | None) -> int:
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
            result = verify(name, folder, seconds=seconds)
        except ValueError as error:
            unusable.add(name)
            console.print(f"{name}: {error}")
            continue
        num_passed = result.num_problems - len(result.failures)
        console.print(
            f"{name}: {result.num_problems} problems of {benchmark.source.name}, "
            f"{num_passed} canonical solutions pass"
        )
        for problem_id, reason in result.failures.items():
            unusable.add(name)
            console.print(f"  {problem_id}: {printable(reason)}")
    return int(bool(unusable & set(recipe.evaluation.benchmarks)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
