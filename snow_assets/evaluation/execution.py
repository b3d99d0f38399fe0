"""The sandbox's job: written answers in; how they ran, out. It needs no GPU and no torch.

A benchmark's own solutions run first. If one fails, so would a model's equal answer, and nothing
is reported; the slowest of them scales the time limit, since a limit that is tight on a slow
machine measures the machine (evalplus, issue 5).
"""

from collections.abc import Callable, Sequence
from typing import Any

from snow_assets import pod, sandbox, shards
from snow_assets.documents import ANSWER
from snow_assets.evaluation.contract import Evaluation, Executed
from snow_assets.evaluation.results import NOT_RUN, unfinished_table
from snow_assets.evaluation.samples import Problem, problems
from snow_assets.recipe import EvaluationRecipe

PASSED, TIMEOUT = "passed", "timeout"

Run = Callable[[str, float], sandbox.Verdict]
"""A program and its time limit in seconds -> what became of it."""


def in_sandbox(program: str, seconds: float) -> sandbox.Verdict:
    return sandbox.run(program, limits=sandbox.Limits(seconds=seconds))


def program(problem: Problem, completion: str) -> str:
    """What decides about a completion: it passes if this runs to its end."""
    return f"{problem.prompt}{completion}\n\n{problem.test}\n\ncheck({problem.entry_point})\n"


def slowest_canonical(found: Sequence[Problem], run: Run, *, timeout_seconds: float) -> float:
    """Seconds of the slowest canonical solution; ValueError unless all of them pass."""
    slowest = 0.0
    for problem in found:
        verdict = run(program(problem, problem.solution), timeout_seconds)
        if verdict.outcome != PASSED:
            raise ValueError(
                f"the canonical solution of {problem.problem_id} ended as {verdict.outcome} within "
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


def run_all(
    completions: Sequence[dict[str, Any]], by_id: dict[str, Problem], run: Run, *, seconds: float
) -> list[dict[str, Any]]:
    """A row of ANSWER for each row of COMPLETION."""
    rows = []
    for row in completions:
        verdict = run(program(by_id[row["problem_id"]], row["completion"]), seconds)
        rows.append(
            _answer(
                row,
                verdict=verdict.outcome,
                isolation=verdict.isolation,
                seconds=verdict.seconds,
                message=verdict.message or None,
            )
        )
    return rows


def _answer(row: dict[str, Any], **found: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("checkpoint", "problem_id", "completion")} | found


def execute(request: Evaluation, progress: pod.Progress) -> Executed:
    """Write `answers`: verdicts, or `not_run` and why where the sandbox's floor cannot be had."""
    completions = unfinished_table(request.output, "completions").to_pylist()
    isolation = sandbox.probe()
    if not isolation.available:
        progress.say(f"{request.checkpoint}: no program was run: {isolation.reason}")
        nothing = {"verdict": NOT_RUN, "isolation": "none", "seconds": 0.0}
        rows = [_answer(row, **nothing, message=isolation.reason) for row in completions]
        shards.put_table(request.output, "answers", 0, rows, ANSWER)
        return _report(rows, "none", isolation.reason, num_canonical=0, slowest=0.0, limit=0.0)
    asked = {row["problem_id"] for row in completions}
    found = [
        problem
        for problem in problems(request.problems, num=None, seed=request.recipe.seed)
        if problem.problem_id in asked
    ]
    limits: EvaluationRecipe = request.recipe
    # The first run has no measure yet: what any answer may take at most, times the factor.
    patience = limits.timeout_seconds * limits.timeout_factor
    slowest = slowest_canonical(found, in_sandbox, timeout_seconds=patience)
    limit = max(limits.timeout_seconds, limits.timeout_factor * slowest)
    progress.say(f"{len(found)} canonical solutions passed; an answer may take {limit:.1f} s")
    by_id = {problem.problem_id: problem for problem in found}
    rows = run_all(completions, by_id, in_sandbox, seconds=limit)
    num_timeouts = sum(row["verdict"] == TIMEOUT for row in rows)
    refuse_timeouts(num_timeouts, len(rows), max_share=limits.max_timeout_share)
    shards.put_table(request.output, "answers", 0, rows, ANSWER)
    return _report(
        rows, isolation.level, None, num_canonical=len(found), slowest=slowest, limit=limit
    )


def _report(
    rows: Sequence[dict[str, Any]],
    isolation: str,
    not_run: str | None,
    *,
    num_canonical: int,
    slowest: float,
    limit: float,
) -> Executed:
    verdicts = [row["verdict"] for row in rows]
    return Executed(
        isolation=isolation,
        not_run=not_run,
        num_canonical=num_canonical,
        slowest_canonical_seconds=slowest,
        timeout_seconds=limit,
        num_answers=len(rows),
        num_passed=verdicts.count(PASSED),
        num_timeouts=verdicts.count(TIMEOUT),
    )


if __name__ == "__main__":
    pod.main(Evaluation, execute)
