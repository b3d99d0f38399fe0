"""Sandbox job: run programs against their tests. Needs no GPU, no torch and no lake.

The canonical solutions run first. If one fails, the job fails, since an equal completion would fail
too. The slowest one scales the time limit, because a limit that is tight on a slow machine measures
the machine (evalplus, issue 5).
"""

from collections.abc import Callable, Sequence
from functools import partial

from snow_assets.evaluation.contract import (
    NOT_RUN,
    PASSED,
    TIMEOUT,
    ExecutionReport,
    ExecutionRequest,
    Program,
    ProgramResult,
)
from snow_assets.recipe import EvaluationRecipe
from snow_assets.runtime import sandbox, worker

RunPrograms = Callable[[Sequence[sandbox.Execution]], list[sandbox.ExecutionResult]]


def execution_of(source: str, program: Program, seconds: float) -> sandbox.Execution:
    """The program's test on `source`, which must define the program's entry point."""
    test = sandbox.FunctionTest(
        entry_point=program.entry_point, reference=program.solution, source=program.test
    )
    return sandbox.Execution(program=source, limits=sandbox.Limits(seconds=seconds), test=test)


def slowest_canonical(
    programs: Sequence[Program], run: RunPrograms, *, timeout_seconds: float
) -> float:
    """Run the canonical solutions; return the slowest one's seconds. ValueError if one fails."""
    results = run(
        [execution_of(program.solution, program, timeout_seconds) for program in programs]
    )
    for program, result in zip(programs, results, strict=True):
        if result.outcome != PASSED:
            raise ValueError(
                f"the canonical solution of {program.problem_id} ended as {result.outcome} within "
                f"{timeout_seconds:g} s ({result.message.strip()[-300:]}), so no answer can be "
                "judged: raise evaluation.timeout_seconds, or look at the sandbox's limits"
            )
    return max((result.seconds for result in results), default=0.0)


def raise_on_timeouts(num_timeouts: int, num_answers: int, *, max_share: float) -> None:
    """Raise ValueError if more than `max_share` of the programs timed out."""
    if num_timeouts > max_share * num_answers:
        raise ValueError(
            f"{num_timeouts} of {num_answers} answers timed out, more than the share {max_share:g} "
            "that evaluation.max_timeout_fraction allows: the machine is too busy, or "
            "evaluation.timeout_seconds is too small"
        )


def run_programs(
    programs: Sequence[Program], run: RunPrograms, *, seconds: float
) -> list[ProgramResult]:
    """Run each model program with a time limit of `seconds`."""
    results = run([execution_of(program.answer, program, seconds) for program in programs])
    return [
        ProgramResult(
            outcome=result.outcome,
            isolation=result.isolation,
            seconds=result.seconds,
            message=result.message or None,
        )
        for result in results
    ]


def execute(request: ExecutionRequest, progress: worker.Progress) -> ExecutionReport:
    """Run canonical and model programs; report `not_run` with the reason without a sandbox."""
    isolation = sandbox.probe()
    by_id = {program.problem_id: program for program in request.programs}
    if not isolation.available:
        progress.log(f"{request.checkpoint}: no program was run: {isolation.reason}")
        not_run = ProgramResult(
            outcome=NOT_RUN, isolation="none", seconds=0.0, message=isolation.reason
        )
        results = [not_run] * len(request.programs)
        return _report(
            results,
            "none",
            isolation.reason,
            num_problems=len(by_id),
            num_canonical=0,
            slowest=0.0,
            timeout_seconds=0.0,
        )
    recipe: EvaluationRecipe = request.recipe
    run = partial(sandbox.run_all, num_cpus=request.num_cpus)
    # No solution has been timed yet: allow the recipe's limit times its factor.
    canonical_timeout = recipe.timeout_seconds * recipe.timeout_factor
    slowest = slowest_canonical(list(by_id.values()), run, timeout_seconds=canonical_timeout)
    limit = max(recipe.timeout_seconds, recipe.timeout_factor * slowest)
    progress.log(f"{len(by_id)} canonical solutions passed; an answer may take {limit:.1f} s")
    results = run_programs(request.programs, run, seconds=limit)
    num_timeouts = sum(result.outcome == TIMEOUT for result in results)
    raise_on_timeouts(num_timeouts, len(results), max_share=recipe.max_timeout_fraction)
    return _report(
        results,
        isolation.level,
        None,
        num_problems=len(by_id),
        num_canonical=len(by_id),
        slowest=slowest,
        timeout_seconds=limit,
    )


def _report(
    results: Sequence[ProgramResult],
    isolation: str,
    not_run: str | None,
    *,
    num_problems: int,
    num_canonical: int,
    slowest: float,
    timeout_seconds: float,
) -> ExecutionReport:
    outcomes = [result.outcome for result in results]
    return ExecutionReport(
        isolation=isolation,
        not_run=not_run,
        num_canonical=num_canonical,
        slowest_canonical_seconds=slowest,
        timeout_seconds=timeout_seconds,
        num_problems=num_problems,
        num_answers=len(results),
        num_passed=outcomes.count(PASSED),
        num_timeouts=outcomes.count(TIMEOUT),
        ran=tuple(results),
    )


if __name__ == "__main__":
    worker.main(ExecutionRequest, execute)
