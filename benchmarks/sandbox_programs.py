"""Judge HumanEval's own solutions in the sandbox: `python benchmarks/sandbox_programs.py [ROUNDS]`.

Prints the outcomes, and wall and CPU seconds per program of each round; bare programs beside them,
whose cost is the sandbox without a test.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable

from snow_assets.corpus.problems import read_problems
from snow_assets.evaluation.answers import build_program
from snow_assets.evaluation.execution import run_in_sandbox
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.runtime import sandbox

LIMITS = sandbox.Limits(seconds=30.0)


def measured(name: str, runs: list[Callable[[], sandbox.ExecutionResult]]) -> None:
    """Print what `runs` took, each one outcome."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes = Counter(run().outcome for run in runs)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    per_program = f"{1000 * wall / len(runs):.0f} ms wall, {1000 * cpu / len(runs):.0f} ms CPU"
    print(f"{name}: {dict(outcomes)}, {per_program} each", flush=True)


def main(num_rounds: int) -> None:
    print(sandbox.probe())
    programs = [build_program(problem_from_row(row), "") for row in read_problems(["HumanEval"])]
    for _ in range(num_rounds):
        measured("empty programs", [lambda: sandbox.run("pass", limits=LIMITS)] * len(programs))
        judged = [lambda each=each: run_in_sandbox(each.solution, each, 30.0) for each in programs]
        measured("HumanEval's solutions", judged)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
