"""Answers that run: judged from outside, after the benchmark's own solutions."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dagster_pipes import PipesContext
from pydantic import TypeAdapter

from snow_assets.corpus.problems import read_problems
from snow_assets.evaluation import execution, results
from snow_assets.evaluation.contract import (
    EvaluationRequest,
    ExecutionReport,
    MeasurementReport,
    ProgramResult,
)
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.evaluation.programs import (
    execution_request,
    problem_test,
    timings,
    write_executions,
)
from snow_assets.runtime import sandbox, worker
from snow_assets.runtime.stable_messages import stable_message
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import COMPLETION, LIKELIHOOD
from tests.evaluation.builders import (
    a_completion,
    a_problem,
    a_request,
    an_evaluation_recipe,
    put_problems,
)
from tests.evaluation.test_results import a_likelihood


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
    write_executions(request, report)
    return report


def executions(request: EvaluationRequest) -> list[dict[str, Any]]:
    return list(shards.read_shard(request.output, "executions-00000.parquet").to_pylist())


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
    problem = a_problem()
    judged = execution.execution_of(f"{problem.prompt}{completion}", problem_test(problem), 1.0)
    (result,) = sandbox.run_all([judged], num_cpus=1)
    assert result.outcome == outcome


@pytest.mark.usefixtures("_sandboxed")
def test_programs_are_judged_and_the_slowest_solution_scales_the_limit(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    good = problem_from_row(read_problems(["HumanEval"])[0]).solution
    report = executed(request_, tmp_path, [good, "\n    return None\n"])
    assert [row["outcome"] for row in executions(request_)] == ["passed", "failed"]
    assert {row["isolation"] for row in executions(request_)} == {report.isolation}
    assert (report.num_canonical, report.num_passed, report.not_run) == (2, 1, None)
    factor = request_.recipe.timeout_factor
    assert report.timeout_seconds == max(
        request_.recipe.timeout_seconds, factor * report.slowest_canonical_seconds
    )


@pytest.mark.usefixtures("_sandboxed")
def test_too_many_timeouts_fail_the_job_and_leave_no_executions(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    recipe = an_evaluation_recipe(timeout_seconds=5.0, timeout_factor=3.0, max_timeout_fraction=0.4)
    request = replace(request_, recipe=recipe)
    endless = "\n    import time\n    time.sleep(600)\n"
    with pytest.raises(ValueError, match=r"1 of 2 programs timed out.*0\.4"):
        executed(request, tmp_path, [endless, "\n    return None\n"])
    assert shards.record(request.output, "executions-00000.parquet") is None


MATCH = {
    "problem_id": "HumanEval/match",
    "benchmark": "HumanEval",
    "origin_id": "HumanEval/match",
    "language": "python",
    "prompt": 'import re\n\n\ndef find_digits(text):\n    """The first digits."""\n',
    "solution": "    return re.search('[0-9]+', text)\n",
    "test": "assert candidate('a1') is not None\n",
    "entry_point": "find_digits",
    "is_validation": True,
}
"""A problem whose solution returns what no value channel of the sandbox carries."""


@pytest.mark.usefixtures("_sandboxed")
def test_a_problem_whose_canonical_solution_fails_here_is_excluded_by_name(
    lake_url: str, tmp_path: Path
) -> None:
    rows = read_problems(["HumanEval"])[:3]
    put_problems(lake_url, [*rows, MATCH])
    request = a_request(lake_url)
    completions = [a_completion(row["problem_id"], row["solution"]) for row in (*rows, MATCH)]
    completions[1]["completion"] = "    return None\n"
    for completion in completions:
        completion["completion"] = f"\n{completion['completion']}"
    shards.put_table(request.output, "completions", 0, completions, COMPLETION)
    execution_job = execution_request(request, num_cpus=2)
    report = execution.execute(execution_job, progress(tmp_path))
    assert list(report.excluded) == ["HumanEval/match"]
    assert "Match" in report.excluded["HumanEval/match"]
    assert (report.num_problems, report.num_canonical) == (3, 3)
    assert (report.num_programs, report.num_passed) == (3, 2)
    write_executions(request, report)
    by_id = {row["problem_id"]: row for row in executions(request)}
    assert [row["outcome"] for row in by_id.values()] == ["passed", "failed", "passed", "excluded"]
    assert by_id["HumanEval/match"]["message"] == report.excluded["HumanEval/match"]
    likelihoods = [
        a_likelihood(
            "validation_half", row["problem_id"], 50.0, benchmark="HumanEval", repository=None
        )
        for row in (*rows, MATCH)
    ]
    shards.put_table(request.output, "likelihoods", 0, likelihoods, LIKELIHOOD)
    written = {(row["metric"], row["subset"]): row for row in results.write_results(request)}
    pass_row = written["pass_at_1", "validation_half"]
    assert (pass_row["value"], pass_row["num_samples"]) == (pytest.approx(2 / 3), 3)
    assert "excluded, as their canonical solutions fail here: HumanEval/match" in pass_row["note"]
    assert written["solution_bits_per_byte", "validation_half"]["num_samples"] == 4
    measured = MeasurementReport(num_documents=0, num_solutions=4, device="cpu")
    stats = results.stats(written.values(), measured, report)
    assert (stats["num_problems"], list(stats["excluded_problems"])) == (3, ["HumanEval/match"])
    (violation,) = results.validate_canonical_solutions([stats])
    assert violation.startswith("HumanEval/match is excluded, its canonical solution fails here")


def results_of(
    outcomes: Sequence[sandbox.Outcome], seconds: Sequence[float] = ()
) -> execution.RunPrograms:
    """A run that ends as it is said here, whatever the programs are."""

    def run(_: Sequence[sandbox.Execution]) -> list[sandbox.ExecutionResult]:
        return [
            sandbox.ExecutionResult(outcome=outcome, seconds=duration, isolation="x", message="m")
            for outcome, duration in zip(outcomes, seconds or [0.1] * len(outcomes), strict=True)
        ]

    return run


def raise_on_failures(outcomes: Sequence[sandbox.Outcome]) -> None:
    problems = [
        problem_test(a_problem(problem_id=f"Own/{number}")) for number in range(len(outcomes))
    ]
    canonical = execution.run_canonical(problems, results_of(outcomes), timeout_seconds=5.0)
    execution.raise_on_canonical_failures(problems, canonical, timeout_seconds=5.0)


def test_more_failing_canonical_solutions_than_a_small_share_stop_everything() -> None:
    raise_on_failures(["passed"] * 39 + ["failed"] * 2)  # a twentieth of 41 is 2.05
    raise_on_failures(["passed", "failed"])
    refused = r"4 of 41 canonical solutions of Own fail here.* Own/37 memory: m.*`make suites`"
    with pytest.raises(ValueError, match=refused):
        raise_on_failures(["passed"] * 37 + ["memory"] * 4)
    with pytest.raises(ValueError, match="1 of 1 canonical solutions of Own fail here"):
        raise_on_failures(["failed"])


def test_a_canonical_solution_that_times_out_stops_everything() -> None:
    with pytest.raises(ValueError, match=r"Own/40 timed out after 5 s: .*timeout_seconds"):
        raise_on_failures(["passed"] * 40 + ["timeout"])


def test_the_slowest_of_the_canonical_solutions_that_pass_is_found() -> None:
    problems = [problem_test(a_problem(problem_id=f"Own/{number}")) for number in range(3)]
    run = results_of(["passed", "passed", "failed"], [0.1, 0.7, 3.0])
    canonical = execution.run_canonical(problems, run, timeout_seconds=5.0)
    assert canonical.slowest_seconds == {"function": 0.7}
    assert set(canonical.failures) == {"Own/2"}


def test_samples_of_a_problem_share_its_test(request_: EvaluationRequest) -> None:
    rows = [a_completion("HumanEval/0", str(index), sample_index=index) for index in range(3)]
    shards.put_table(request_.output, "completions", 0, rows, COMPLETION)
    execution_job = execution_request(request_, num_cpus=1)
    assert [problem.problem_id for problem in execution_job.problems] == ["HumanEval/0"]
    assert [program.source[-1] for program in execution_job.programs] == ["0", "1", "2"]


def test_another_artifact_with_the_same_programs_runs_them_again(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    """A finished job of an equal request is reused, also one that says "not run"."""
    digests = set()
    for request in (request_, replace(request_, output=str(tmp_path / "with_node"))):
        completions = [a_completion("HumanEval/0", "    pass")]
        shards.put_table(request.output, "completions", 0, completions, COMPLETION)
        execution_job = execution_request(request, num_cpus=1)
        digests.add(TypeAdapter(type(execution_job)).dump_json(execution_job))
    assert len(digests) == 2


def test_without_the_floor_nothing_runs_and_the_reason_is_kept(
    request_: EvaluationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = sandbox.Isolation(available=False, level="none", reason="Landlock is not available")
    monkeypatch.setattr(sandbox, "probe", lambda: missing)
    monkeypatch.setattr(sandbox, "run_all", lambda *_, **__: pytest.fail("it ran a program"))
    report = executed(request_, tmp_path, ["\n    return 1\n"])
    assert (report.not_run, report.num_programs, report.num_passed) == (missing.reason, 1, 0)
    (row,) = executions(request_)
    assert (row["outcome"], row["isolation"], row["message"]) == (
        "not_run",
        "none",
        missing.reason,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_sandboxed")
def test_every_canonical_solution_of_human_eval_passes() -> None:
    problems = [problem_from_row(row) for row in read_problems(["HumanEval"])]
    tests = [problem_test(problem) for problem in problems]
    assert len(tests) == 164
    run = partial(sandbox.run_all, num_cpus=2)
    assert execution.run_canonical(tests, run, timeout_seconds=30.0).failures == {}


def a_report(*, seconds: float, address: str) -> ExecutionReport:
    message = f"AssertionError: <object object at 0x{address}> in /tmp/run-{address}/main.py"
    return ExecutionReport(
        isolation="landlock",
        not_run=None,
        excluded={},
        num_canonical=1,
        slowest_canonical_seconds=seconds / 2,
        timeout_seconds=10 * seconds,
        num_problems=1,
        num_programs=1,
        num_passed=0,
        num_timeouts=0,
        ran=(
            ProgramResult(outcome="failed", isolation="landlock", seconds=seconds, message=message),
        ),
    )


def test_what_a_clock_and_a_memory_say_is_no_part_of_the_executions(tmp_path: Path) -> None:
    row = a_completion("HumanEval/0", "    pass")
    digests = set()
    for name, seconds, address in (("one", 0.1, "7f00aa112233"), ("two", 2.5, "7fffbb445566")):
        request = replace(a_request(str(tmp_path / name)), output=str(tmp_path / name / "out"))
        shards.put_table(request.output, "completions", 0, [row], COMPLETION)
        report = a_report(seconds=seconds, address=address)
        write_executions(request, report)
        digests.add(shards.content_digest(shards.records(request.output)))
        assert timings(report)["program_seconds"] == seconds
    assert len(digests) == 1
    assert executions(request)[0]["message"] == (
        "AssertionError: <object object at 0x...> in /tmp/.../main.py"
    )


def test_a_message_keeps_small_numbers_in_hexadecimal() -> None:
    assert stable_message("expected 0xff, not 0x10") == "expected 0xff, not 0x10"
    assert stable_message(None) is None


@pytest.mark.parametrize("folder", ["/scratch/user", "/tmp/jobs", "/tmp/jobs/1a2b"])
def test_a_message_keeps_no_name_that_differs_between_runs(folder: str) -> None:
    message = 'File "/proc/self/fd/{}/python3.11/json.py": {}/snow-sandbox-{}/tmp{}/a.txt'
    first = message.format(4, "/tmp", "ab12cd34", "6cfau6tj")
    second = message.format(17, folder, "xy_4z0q1", "lk_09abz")
    assert stable_message(first) == stable_message(second)
    assert str(stable_message(first)).endswith("/tmp/.../tmp.../a.txt")
