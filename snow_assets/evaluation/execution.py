"""The sandbox's job: programs and tests in, verdicts out. It needs no GPU, no torch and no lake.

A benchmark's own solutions run first. If one fails, so would a model's equal answer, and nothing
is reported; the slowest of them scales the time limit, since a limit that is tight on a slow
machine measures the machine (evalplus, issue 5).
"""

from collections.abc import Callable, Sequence

from snow_assets import sandbox, worker
from snow_assets.evaluation.contract import NOT_RUN, Executed, Execution, Program, Ran
from snow_assets.recipe import EvaluationRecipe

PASSED, TIMEOUT = "passed", "timeout"

Run = Callable[[str, Program, float], sandbox.ExecutionResult]
"""A source text, the program whose test judges it, and its time limit in seconds -> verdict."""


def in_sandbox(source: str, program: Program, seconds: float) -> sandbox.ExecutionResult:
    """The verdict on `source`, which defines the program's function, by the program's test."""
    test = sandbox.FunctionTest(
        entry_point=program.entry_point, reference=program.solution, source=program.test
    )
    return sandbox.run(source, limits=sandbox.Limits(seconds=seconds), test=test)


def slowest_canonical(programs: Sequence[Program], run: Run, *, timeout_seconds: float) -> float:
    """Seconds of the slowest canonical solution; ValueError unless all of them pass."""
    slowest = 0.0
    for program in programs:
        verdict = run(program.solution, program, timeout_seconds)
        if verdict.outcome != PASSED:
            raise ValueError(
                f"the canonical solution of {program.problem_id} ended as {verdict.outcome} within "
                f"{timeout_seconds:g} s ({verdict.message.strip()[-300:]}), so no answer can be "
                "judged: raise evaluation.timeout_seconds, or look at the sandbox's limits"
            )
        slowest = max(slowest, verdict.seconds)
    return slowest


def refuse_timeouts(num_timeouts: int, num_answers: int, *, max_share: float) -> None:
    """ValueError when so many answers ran out of time that the limit decides, not the model."""
    if num_timeouts > max_share * num_answers:
        raise ValueError(
            f"{num_timeouts} of {num_answers} answers timed out, more than the share {max_share:g} "
            "that evaluation.max_timeout_share allows: the machine is too busy, or "
            "evaluation.timeout_seconds is too small"
        )


def run_all(programs: Sequence[Program], run: Run, *, seconds: float) -> list[Ran]:
    """What becomes of each answer within the time."""
    verdicts = [run(program.answer, program, seconds) for program in programs]
    return [
        Ran(
            verdict=verdict.outcome,
            isolation=verdict.isolation,
            seconds=verdict.seconds,
            message=verdict.message or None,
        )
        for verdict in verdicts
    ]


def execute(request: Execution, progress: worker.Progress) -> Executed:
    """Verdicts, or `not_run` and why where the sandbox's floor cannot be had."""
    isolation = sandbox.probe()
    if not isolation.available:
        progress.log(f"{request.checkpoint}: no program was run: {isolation.reason}")
        nothing = Ran(verdict=NOT_RUN, isolation="none", seconds=0.0, message=isolation.reason)
        ran = [nothing] * len(request.programs)
        return _report(ran, "none", isolation.reason, num_canonical=0, slowest=0.0, limit=0.0)
    limits: EvaluationRecipe = request.recipe
    by_id = {program.problem_id: program for program in request.programs}
    # The first run has no measure yet: what any answer may take at most, times the factor.
    patience = limits.timeout_seconds * limits.timeout_factor
    slowest = slowest_canonical(list(by_id.values()), in_sandbox, timeout_seconds=patience)
    limit = max(limits.timeout_seconds, limits.timeout_factor * slowest)
    progress.log(f"{len(by_id)} canonical solutions passed; an answer may take {limit:.1f} s")
    ran = run_all(request.programs, in_sandbox, seconds=limit)
    num_timeouts = sum(each.verdict == TIMEOUT for each in ran)
    refuse_timeouts(num_timeouts, len(ran), max_share=limits.max_timeout_share)
    return _report(
        ran, isolation.level, None, num_canonical=len(by_id), slowest=slowest, limit=limit
    )


def _report(
    ran: Sequence[Ran],
    isolation: str,
    not_run: str | None,
    *,
    num_canonical: int,
    slowest: float,
    limit: float,
) -> Executed:
    verdicts = [each.verdict for each in ran]
    return Executed(
        isolation=isolation,
        not_run=not_run,
        num_canonical=num_canonical,
        slowest_canonical_seconds=slowest,
        timeout_seconds=limit,
        num_answers=len(ran),
        num_passed=verdicts.count(PASSED),
        num_timeouts=verdicts.count(TIMEOUT),
        ran=tuple(ran),
    )


if __name__ == "__main__":
    worker.main(Execution, execute)
