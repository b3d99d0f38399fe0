"""Answers that run: judged from outside, after the benchmark's own solutions."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dagster_pipes import PipesContext

from snow_assets.corpus.problems import read_problems
from snow_assets.evaluation import execution
from snow_assets.evaluation.answers import (
    build_program,
    execution_request,
    stable_message,
    timings,
    write_answers,
)
from snow_assets.evaluation.contract import (
    EvaluationRequest,
    ExecutionReport,
    Program,
    ProgramResult,
)
from snow_assets.evaluation.problems import Problem, problem_from_row
from snow_assets.runtime import sandbox, worker
from snow_assets.storage import shards
from snow_assets.storage.schemas import COMPLETION
from tests.evaluation.builders import (
    a_completion,
    a_problem,
    a_request,
    an_evaluation_recipe,
    put_problems,
)


class Said:
    """What a job says, kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)


def progress(folder: Path) -> worker.Progress:
    pipes: Any = type("Pipes", (), {"log": Said()})()
    told: PipesContext = pipes
    return worker.Progress(folder=str(folder), pipes=told)


def executed(request: EvaluationRequest, tmp_path: Path, completions: list[str]) -> ExecutionReport:
    """Run completions of HumanEval's first problems."""
    rows = [
        a_completion(row["problem_id"], text)
        for row, text in zip(read_problems(["HumanEval"]), completions, strict=False)
    ]
    shards.put_table(request.output, "completions", 0, rows, COMPLETION)
    report = execution.execute(execution_request(request, num_cpus=2), progress(tmp_path))
    write_answers(request, report)
    return report


def a_program(problem: Problem) -> Program:
    return build_program(problem, "")


def answers(request: EvaluationRequest) -> list[dict[str, Any]]:
    return list(shards.read_shard(request.output, "answers-00000.parquet").to_pylist())


@pytest.fixture
def request_(lake_url: str) -> EvaluationRequest:
    put_problems(lake_url)
    return a_request(lake_url)


@pytest.fixture
def _sandboxed() -> None:
    isolation = sandbox.probe()
    if not isolation.available:
        pytest.skip(f"no sandbox here: {isolation.reason}")


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("\n    return first + second\n", "passed"),
        ("\n    return first - second\n", "failed"),
        ("\n    raise SystemExit(0)\n", "failed"),
        ("\n    import os\n    os._exit(0)\n", "failed"),
        ("\n    this is no python\n", "failed"),
        ("", "failed"),
        ("\n    while True: pass\n", "timeout"),
    ],
)
@pytest.mark.usefixtures("_sandboxed")
def test_a_program_passes_only_by_running_to_its_end(completion: str, outcome: str) -> None:
    judged = build_program(a_problem(), completion)
    (result,) = sandbox.run_all([execution.execution_of(judged.answer, judged, 1.0)], num_cpus=1)
    assert result.outcome == outcome


@pytest.mark.usefixtures("_sandboxed")
def test_answers_are_judged_and_the_slowest_solution_scales_the_limit(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    good = problem_from_row(read_problems(["HumanEval"])[0]).solution
    report = executed(request_, tmp_path, [good, "\n    return None\n"])
    assert [row["outcome"] for row in answers(request_)] == ["passed", "failed"]
    assert {row["isolation"] for row in answers(request_)} == {report.isolation}
    assert (report.num_canonical, report.num_passed, report.not_run) == (2, 1, None)
    factor = request_.recipe.timeout_factor
    assert report.timeout_seconds == max(
        request_.recipe.timeout_seconds, factor * report.slowest_canonical_seconds
    )


@pytest.mark.usefixtures("_sandboxed")
def test_too_many_timeouts_fail_the_job_and_leave_no_answers(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    recipe = an_evaluation_recipe(timeout_seconds=0.3, timeout_factor=3.0, max_timeout_fraction=0.4)
    request = replace(request_, recipe=recipe)
    endless = "\n    while True: pass\n"
    with pytest.raises(ValueError, match=r"1 of 2 answers timed out.*0\.4"):
        executed(request, tmp_path, [endless, "\n    return None\n"])
    assert shards.record(request.output, "answers-00000.parquet") is None


def test_a_canonical_solution_that_fails_stops_everything() -> None:
    def broken(executions: Sequence[sandbox.Execution]) -> list[sandbox.ExecutionResult]:
        result = sandbox.ExecutionResult(
            outcome="memory", seconds=0.1, isolation="x", message="no room"
        )
        return [result] * len(executions)

    with pytest.raises(ValueError, match=r"Own/0 ended as memory within 5 s \(no room\)"):
        execution.slowest_canonical([a_program(a_problem())], broken, timeout_seconds=5.0)


def test_the_slowest_of_the_canonical_solutions_is_found() -> None:
    def timed(executions: Sequence[sandbox.Execution]) -> list[sandbox.ExecutionResult]:
        return [
            sandbox.ExecutionResult(outcome="passed", seconds=each, isolation="x", message="")
            for each in (0.1, 0.7, 0.3)
        ]

    found = execution.slowest_canonical([a_program(a_problem())] * 3, timed, timeout_seconds=5.0)
    assert found == 0.7


def test_without_the_floor_nothing_runs_and_the_reason_is_kept(
    request_: EvaluationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = sandbox.Isolation(available=False, level="none", reason="Landlock is not available")
    monkeypatch.setattr(sandbox, "probe", lambda: missing)
    monkeypatch.setattr(sandbox, "run_all", lambda *_, **__: pytest.fail("it ran a program"))
    report = executed(request_, tmp_path, ["\n    return 1\n"])
    assert (report.not_run, report.num_answers, report.num_passed) == (missing.reason, 1, 0)
    (row,) = answers(request_)
    assert (row["outcome"], row["isolation"], row["message"]) == (
        "not_run",
        "none",
        missing.reason,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_sandboxed")
def test_every_canonical_solution_of_human_eval_passes() -> None:
    problems = [problem_from_row(row) for row in read_problems(["HumanEval"])]
    found = [a_program(each) for each in problems]
    assert len(found) == 164
    run = partial(sandbox.run_all, num_cpus=2)
    execution.slowest_canonical(found, run, timeout_seconds=30.0)


def a_report(*, seconds: float, address: str) -> ExecutionReport:
    message = f"AssertionError: <object object at 0x{address}> in /tmp/run-{address}/main.py"
    return ExecutionReport(
        isolation="landlock",
        not_run=None,
        num_canonical=1,
        slowest_canonical_seconds=seconds / 2,
        timeout_seconds=10 * seconds,
        num_problems=1,
        num_answers=1,
        num_passed=0,
        num_timeouts=0,
        ran=(
            ProgramResult(outcome="failed", isolation="landlock", seconds=seconds, message=message),
        ),
    )


def test_what_a_clock_and_a_memory_say_is_no_part_of_the_answers(tmp_path: Path) -> None:
    row = a_completion("HumanEval/0", "    pass")
    digests = set()
    for name, seconds, address in (("one", 0.1, "7f00aa112233"), ("two", 2.5, "7fffbb445566")):
        request = replace(a_request(str(tmp_path / name)), output=str(tmp_path / name / "out"))
        shards.put_table(request.output, "completions", 0, [row], COMPLETION)
        report = a_report(seconds=seconds, address=address)
        write_answers(request, report)
        digests.add(shards.content_digest(shards.records(request.output)))
        assert timings(report)["answer_seconds"] == seconds
    assert len(digests) == 1
    assert answers(request)[0]["message"] == (
        "AssertionError: <object object at 0x...> in /tmp/.../main.py"
    )


def test_a_message_keeps_small_numbers_in_hexadecimal() -> None:
    assert stable_message("expected 0xff, not 0x10") == "expected 0xff, not 0x10"
    assert stable_message(None) is None
