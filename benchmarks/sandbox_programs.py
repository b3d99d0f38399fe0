"""Judge HumanEval's own solutions in the sandbox: `python benchmarks/sandbox_programs.py [ROUNDS]`.

Prints the outcomes, and wall and CPU seconds per program of each round; bare programs beside them,
whose cost is the sandbox without a test.
"""

import os
import resource
import sys
import time
from collections import Counter

from snow_assets.corpus.problems import read_problems
from snow_assets.evaluation.execution import execution_of
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.evaluation.programs import problem_test
from snow_assets.runtime import sandbox

LIMITS = sandbox.Limits(seconds=30.0)


def measured(name: str, executions: list[sandbox.Execution], *, num_cpus: int) -> None:
    """Print what the programs took, `num_cpus` of them at a time."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    results = sandbox.run_all(executions, num_cpus=num_cpus)
    outcomes = Counter(result.outcome for result in results)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall_ms, cpu_ms = (1000 * seconds / len(executions) for seconds in (wall, cpu))
    per_program = f"{wall_ms:.0f} ms wall, {cpu_ms:.0f} ms CPU"
    print(f"{name}, {num_cpus} at a time: {dict(outcomes)}, {per_program} each", flush=True)


def main(num_rounds: int) -> None:
    print(sandbox.probe())
    problems = [problem_test(problem_from_row(row)) for row in read_problems(["HumanEval"])]
    for _ in range(num_rounds):
        empty = [sandbox.Execution(program="pass", limits=LIMITS)] * len(problems)
        measured("empty programs", empty, num_cpus=1)
        judged = [execution_of(problem.solution, problem, 30.0) for problem in problems]
        for num_cpus in sorted({1, len(os.sched_getaffinity(0))}):
            measured("HumanEval's solutions", judged, num_cpus=num_cpus)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
