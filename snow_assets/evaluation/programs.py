"""Build sandbox programs from completions, and write their outcomes to table `executions`."""

import shutil
from pathlib import Path

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.evaluation.contract import (
    EvaluationRequest,
    ExecutionReport,
    ExecutionRequest,
    ProblemTest,
    Program,
)
from snow_assets.evaluation.limits import LIMITS
from snow_assets.evaluation.problems import Problem, sample_problems
from snow_assets.evaluation.toolchains import TOOLCHAINS
from snow_assets.recipe import Recipe
from snow_assets.runtime.stable_messages import stable_message
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import EXECUTION


def require_memory(recipe: Recipe) -> None:
    """ValueError if the sandbox's job has less memory than the programs of BigCodeBench and
    MultiPL-E that run at the same time may use, a process each."""
    job_gib, num_cpus = recipe.operation.worker_memory.sandbox_gib, recipe.operation.sandbox_cpus
    for name in recipe.evaluation.benchmarks:
        kind = benchmark_named(name).test_kind
        program_gib = LIMITS[kind](seconds=1.0).memory_bytes >> 30
        if kind != "function" and job_gib < program_gib * num_cpus:
            raise ValueError(
                f"{name}: a program may use {program_gib} GiB, {num_cpus} run at a time, and the "
                f"recipe's operation.worker_memory.sandbox_gib is {job_gib}: state at least "
                f"{program_gib * num_cpus}, or a smaller operation.sandbox_cpus"
            )


def required_python(recipe: Recipe, *, is_here: bool = False) -> str | None:
    """`operation.benchmark_python` if a benchmark of the recipe runs in it, else None.

    ValueError if one does and it is not stated, is no absolute path, or is no executable file where
    the sandbox is on this machine (`is_here`).
    """
    needing = [
        name
        for name in recipe.evaluation.benchmarks
        if benchmark_named(name).test_kind == "unittest"
    ]
    python = recipe.operation.benchmark_python
    if not needing:
        return None
    if python is None:
        fault = "names no interpreter"
    elif not Path(python).is_absolute():
        fault = f"is {python!r}, no absolute path"
    elif is_here and not shutil.which(python):
        fault = f"is {python}, and no program is there"
    else:
        return python
    raise ValueError(
        f"{', '.join(needing)}: its programs import libraries of an environment of their own, and "
        f"the recipe's operation.benchmark_python {fault}: create an environment where the sandbox "
        "runs (docs/benchmarks.md), and name its interpreter there"
    )


def installed_toolchains(recipe: Recipe) -> list[str] | None:
    """Languages of the recipe's benchmarks whose commands are installed here; None if no benchmark
    needs any."""
    declared = map(benchmark_named, recipe.evaluation.benchmarks)
    languages = {benchmark.language for benchmark in declared if benchmark.test_kind == "program"}
    if not languages:
        return None
    return sorted(name for name in languages if not TOOLCHAINS[name].missing_commands)


def problem_test(problem: Problem) -> ProblemTest:
    """A problem's test and canonical program."""
    return ProblemTest(
        problem_id=problem.problem_id,
        benchmark=problem.benchmark,
        entry_point=problem.entry_point,
        test=problem.test,
        solution=f"{problem.prompt}{problem.solution}" if problem.solution else "",
        kind=problem.test_kind,
        language=problem.language,
    )


def execution_request(
    evaluation: EvaluationRequest, *, num_cpus: int, benchmark_python: str | None = None
) -> ExecutionRequest:
    """Build the sandbox request from the `completions` of an evaluation's output."""
    rows = shards.read_unfinished(evaluation.output, "completions").to_pylist()
    recipe = evaluation.recipe
    all_problems = sample_problems(
        evaluation.problems, recipe.benchmarks, num=None, seed=recipe.seed
    )
    problem_ids = {row["problem_id"] for row in rows}
    problem_by_id = {
        problem.problem_id: problem for problem in all_problems if problem.problem_id in problem_ids
    }
    return ExecutionRequest(
        checkpoint=evaluation.checkpoint,
        artifact=evaluation.output,
        problems=tuple(map(problem_test, problem_by_id.values())),
        programs=tuple(
            Program(
                problem_id=row["problem_id"],
                source=f"{problem_by_id[row['problem_id']].prompt}{row['completion']}",
            )
            for row in rows
        ),
        recipe=recipe,
        num_cpus=num_cpus,
        benchmark_python=benchmark_python,
    )


def timings(report: ExecutionReport) -> dict[str, float]:
    """Execution times in seconds, as Dagster metadata only: they are not reproducible."""
    return {
        "slowest_canonical_seconds": round(report.slowest_canonical_seconds, 3),
        "timeout_seconds": round(report.timeout_seconds, 3),
        "slowest_program_seconds": round(
            max((result.seconds for result in report.ran), default=0.0), 3
        ),
        "program_seconds": round(sum(result.seconds for result in report.ran), 3),
    }


def write_executions(evaluation: EvaluationRequest, report: ExecutionReport) -> None:
    """Write table `executions`, a row per completion with its outcome and message."""
    completions = shards.read_unfinished(evaluation.output, "completions").to_pylist()
    rows = [
        {
            "checkpoint": row["checkpoint"],
            "problem_id": row["problem_id"],
            "decoding": row["decoding"],
            "sample_index": row["sample_index"],
            "completion": row["completion"],
            "outcome": result.outcome,
            "isolation": result.isolation,
            "message": stable_message(result.message),
        }
        for row, result in zip(completions, report.ran, strict=True)
    ]
    shards.put_table(evaluation.output, "executions", 0, rows, EXECUTION)
