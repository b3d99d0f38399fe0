"""The scoreboard's rows, and the faults that its checks look for."""

from dataclasses import replace
from typing import Any

import pytest

from snow_assets.evaluation import asset_metadata, results
from snow_assets.evaluation.contract import EvaluationRequest
from snow_assets.recipe import SamplingRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import COMPLETION, EXECUTION, LIKELIHOOD
from tests.evaluation.builders import a_completion, a_request, an_evaluation_recipe


def a_likelihood(subset: str, sample: str, nats: float, **changes: Any) -> dict[str, Any]:
    return {
        "checkpoint": "general",
        "benchmark": "held_out",
        "subset": subset,
        "sample_id": sample,
        "repository": f"of-{sample}",
        "num_bytes": 100,
        "num_tokens": 30,
        "nats": nats,
        **changes,
    }


def a_solution(half: str, sample: str) -> dict[str, Any]:
    return a_likelihood(half, sample, 50.0, benchmark="HumanEval", repository=None)


def an_answer(problem: str, outcome: str, **changes: Any) -> dict[str, Any]:
    return {
        "checkpoint": "general",
        "problem_id": problem,
        "decoding": "greedy",
        "sample_index": 0,
        "completion": "",
        "outcome": outcome,
        "isolation": "seccomp",
        "message": None,
        **changes,
    }


def put(request: EvaluationRequest, executions: list[dict[str, Any]], *, cut: int = 0) -> None:
    """Three texts of python and none of sql, two solutions of each half, and some executions."""
    rows = [a_likelihood("python", f"d{n}", 70.0 + n) for n in range(3)]
    rows += [a_solution("validation_half", f"s{n}") for n in range(2)]
    rows += [a_solution("test_half", f"u{n}") for n in range(2)]
    shards.put_table(request.output, "likelihoods", 0, rows, LIKELIHOOD)
    written = [
        a_completion(
            row["problem_id"],
            decoding=row["decoding"],
            sample_index=row["sample_index"],
            num_cut_prompt_tokens=cut,
        )
        for row in executions
    ]
    shards.put_table(request.output, "completions", 0, written, COMPLETION)
    shards.put_table(request.output, "executions", 0, executions, EXECUTION)


def found(request: EvaluationRequest, metric: str, subset: str) -> dict[str, Any]:
    (row,) = [
        row
        for row in results.write_results(request)
        if (row["metric"], row["subset"]) == (metric, subset)
    ]
    return row


@pytest.fixture
def request_(lake_url: str) -> EvaluationRequest:
    return a_request(lake_url)


def test_a_scoreboard_has_each_language_and_both_halves(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "passed"), an_answer("u0", "failed"), an_answer("u1", "passed")])
    rows = results.write_results(request_)
    assert (
        results.validate_completeness(rows, languages=["python", "sql"], recipe=request_.recipe)
        == []
    )
    assert results.validate_intervals(rows) == []
    assert found(request_, "pass_at_1", "test_half")["value"] == 0.5
    assert found(request_, "pass_at_1", "validation_half")["value"] == 1.0


def test_a_language_without_held_out_documents_says_so(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "passed")])
    row = found(request_, "bits_per_byte", "sql")
    assert (row["value"], row["num_samples"]) == (None, 0)
    assert row["note"] == "not run: no held-out document of sql"


def test_a_half_without_chosen_problems_says_so(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "passed")])
    row = found(request_, "pass_at_1", "test_half")
    assert row["value"] is None
    assert row["note"] == "not run: no problem of this half was chosen"


def test_without_a_sandbox_pass_at_1_is_missing_and_not_zero(request_: EvaluationRequest) -> None:
    told = {"isolation": "none", "message": "Landlock is not available"}
    put(request_, [an_answer("s0", "not_run", **told), an_answer("u0", "not_run", **told)])
    row = found(request_, "pass_at_1", "validation_half")
    assert (row["value"], row["low"]) == (None, None)
    assert row["note"] == "not run: Landlock is not available"


def test_a_half_whose_problems_are_all_excluded_names_them(request_: EvaluationRequest) -> None:
    told = {"isolation": "none", "message": "failed: a match cannot cross"}
    put(request_, [an_answer("s0", "excluded", **told), an_answer("u0", "failed")])
    row = found(request_, "pass_at_1", "validation_half")
    assert (row["value"], row["num_samples"]) == (None, 0)
    assert row["note"] == "not run: excluded, as their canonical solutions fail here: s0"
    assert found(request_, "pass_at_1", "test_half")["value"] == 0.0


def test_a_note_tells_isolation_timeouts_and_cut_prompts(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "timeout"), an_answer("s1", "passed")], cut=7)
    note = found(request_, "pass_at_1", "validation_half")["note"]
    assert "isolation: seccomp" in note
    assert "1 timed out" in note
    assert "2 prompts lost their beginning" in note


SAMPLING = SamplingRecipe(
    temperature=0.8, top_p=0.95, num_samples=4, pass_at=(1, 2), reproducible=False
)


def test_greedy_and_sampled_programs_have_rows_of_their_own(request_: EvaluationRequest) -> None:
    request = replace(request_, recipe=an_evaluation_recipe(sampling=SAMPLING))
    outcomes = {"s0": ["passed", "failed", "failed", "failed"], "s1": ["failed"] * 4}
    sampled = [
        an_answer(problem, outcome, decoding="sampled", sample_index=index)
        for problem, samples in outcomes.items()
        for index, outcome in enumerate(samples)
    ]
    put(request, [an_answer("s0", "passed"), an_answer("s1", "passed"), *sampled])
    values = {
        row["metric"]: (row["value"], row["num_samples"])
        for row in results.write_results(request)
        if row["subset"] == "validation_half" and "pass_at" in row["metric"]
    }
    assert values == {
        "pass_at_1": (1.0, 2),
        "sampled_pass_at_1": (pytest.approx(1 / 8), 2),
        "sampled_pass_at_2": (pytest.approx(1 / 4), 2),
    }
    note = found(request, "sampled_pass_at_2", "validation_half")["note"]
    assert "4 samples of each problem at temperature 0.8, top_p 0.95" in note


def test_a_sampled_metric_without_its_row_is_missing(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "passed")])
    sampled = an_evaluation_recipe(sampling=SAMPLING)
    violations = results.validate_completeness(
        results.write_results(request_), languages=["python", "sql"], recipe=sampled
    )
    assert "HumanEval sampled_pass_at_2 test_half is missing" in violations
    assert len(violations) == 4


def test_a_missing_row_and_a_null_without_a_reason_are_faults(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "passed")])
    rows = [dict(row) for row in results.write_results(request_) if row["subset"] != "python"]
    for row in rows:
        row["note"] = None
    faults = results.validate_completeness(
        rows, languages=["python", "sql"], recipe=request_.recipe
    )
    assert "held_out bits_per_byte python is missing" in faults
    assert "held_out bits_per_byte sql has neither a value nor a reason" in faults


def test_a_value_outside_its_interval_and_an_impossible_share_are_faults() -> None:
    row = {"checkpoint": "general", "metric": "pass_at_1", "subset": "validation_half"}
    wrong = [
        {**row, "value": 0.5, "low": 0.6, "high": 0.9},
        {**row, "value": 1.5, "low": None, "high": None},
    ]
    assert len(results.validate_intervals(wrong)) == 2


def test_programs_that_did_not_run_are_a_fault() -> None:
    ran = {"not_run": None, "num_canonical": 3, "num_problems": 3, "excluded_problems": {}}
    assert results.validate_canonical_solutions([ran]) == []
    assert len(results.validate_canonical_solutions([ran | {"not_run": "no floor"}])) == 1
    assert len(results.validate_canonical_solutions([ran | {"num_canonical": 2}])) == 1


def test_tables_that_are_gone_are_named(request_: EvaluationRequest) -> None:
    with pytest.raises(FileNotFoundError, match="has no likelihoods"):
        results.write_results(request_)


def test_a_page_shows_a_table_and_a_small_picture(request_: EvaluationRequest) -> None:
    put(request_, [an_answer("s0", "passed")])
    rows = results.write_results(request_)
    assert asset_metadata.results_table(rows).count("\n") == len(rows) + 1
    picture = asset_metadata.bits_per_byte_plot(rows)
    assert picture.png.startswith(b"\x89PNG")
    assert "Bits per byte" in picture.title
    assert len(picture.png) < 64 * 1024
