"""Completions to programs that a sandbox can be asked to run, and its verdicts to `answers`."""

import re

from snow_assets import shards
from snow_assets.documents import ANSWER
from snow_assets.evaluation.contract import Evaluation, Executed, Execution, Program
from snow_assets.evaluation.results import unfinished_table
from snow_assets.evaluation.samples import Problem, problems


def program(problem: Problem, completion: str) -> Program:
    """What decides about a completion: the problem's test, with the function that it defines."""
    return Program(
        problem_id=problem.problem_id,
        entry_point=problem.entry_point,
        test=f"{problem.test}\n\ncheck(candidate)\n",
        solution=f"{problem.prompt}{problem.solution}",
        answer=f"{problem.prompt}{completion}",
    )


def asked(evaluation: Evaluation) -> Execution:
    """Everything that the sandbox needs to know, since it reaches no lake."""
    rows = unfinished_table(evaluation.output, "completions").to_pylist()
    found = problems(evaluation.problems, num=None, seed=evaluation.recipe.seed)
    by_id = {problem.problem_id: problem for problem in found}
    return Execution(
        checkpoint=evaluation.checkpoint,
        programs=tuple(program(by_id[row["problem_id"]], row["completion"]) for row in rows),
        recipe=evaluation.recipe,
    )


# Where an object lies in memory, and a temporary folder, are others in each run.
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_TEMPORARY = re.compile(r"/tmp/[^\s/'\"]+")  # noqa: S108 - it is looked for, not written to


def stable_message(message: str | None) -> str | None:
    """A program's last words without what another run of it would say otherwise."""
    if message is None:
        return None
    return _TEMPORARY.sub("/tmp/...", _ADDRESS.sub("0x...", message))  # noqa: S108


def timings(executed: Executed) -> dict[str, float]:
    """Seconds of the programs, for the asset's page: no table and no digest holds them."""
    return {
        "slowest_canonical_seconds": round(executed.slowest_canonical_seconds, 3),
        "timeout_seconds": round(executed.timeout_seconds, 3),
        "slowest_answer_seconds": round(max((ran.seconds for ran in executed.ran), default=0.0), 3),
        "answer_seconds": round(sum(ran.seconds for ran in executed.ran), 3),
    }


def put_answers(evaluation: Evaluation, executed: Executed) -> None:
    """Write table `answers`: what became of each completion."""
    completions = unfinished_table(evaluation.output, "completions").to_pylist()
    rows = [
        {
            "checkpoint": row["checkpoint"],
            "problem_id": row["problem_id"],
            "completion": row["completion"],
            "verdict": ran.verdict,
            "isolation": ran.isolation,
            "message": stable_message(ran.message),
        }
        for row, ran in zip(completions, executed.ran, strict=True)
    ]
    shards.put_table(evaluation.output, "answers", 0, rows, ANSWER)
