"""Completions to programs that a sandbox can be asked to run, and its verdicts to `answers`."""

from snow_assets import shards
from snow_assets.documents import ANSWER
from snow_assets.evaluation.contract import Evaluation, Executed, Execution, Program
from snow_assets.evaluation.results import unfinished_table
from snow_assets.evaluation.samples import Problem, problems


def program(problem: Problem, completion: str) -> str:
    """What decides about a completion: it passes if this runs to its end."""
    return f"{problem.prompt}{completion}\n\n{problem.test}\n\ncheck({problem.entry_point})\n"


def asked(evaluation: Evaluation) -> Execution:
    """Everything that the sandbox needs to know, since it reaches no lake."""
    rows = unfinished_table(evaluation.output, "completions").to_pylist()
    found = problems(evaluation.problems, num=None, seed=evaluation.recipe.seed)
    by_id = {problem.problem_id: problem for problem in found}
    return Execution(
        checkpoint=evaluation.checkpoint,
        programs=tuple(
            Program(
                problem_id=row["problem_id"],
                solution=program(by_id[row["problem_id"]], by_id[row["problem_id"]].solution),
                answer=program(by_id[row["problem_id"]], row["completion"]),
            )
            for row in rows
        ),
        recipe=evaluation.recipe,
    )


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
            "seconds": ran.seconds,
            "message": ran.message,
        }
        for row, ran in zip(completions, executed.ran, strict=True)
    ]
    shards.put_table(evaluation.output, "answers", 0, rows, ANSWER)
