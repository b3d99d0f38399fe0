"""The three assets together, with a teacher that answers over HTTP."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.defs import synthesis_checks
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.synthesis import synthetic_completions, synthetic_set, teacher_model
from snow_assets.recipe import SMOKE, AcceptanceRecipe, Recipe
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.teacher import Teacher
from snow_resources.tracking import Tracking
from tests.sandbox.programs import needs_floor
from tests.stage_assets import asset_of, assets_of
from tests.synthesis.builders import (
    PROBLEM,
    a_module,
    a_recipe,
    a_subset,
    put_opt_outs,
    put_problems,
    put_tokenizer,
)
from tests.synthesis.stub_server import Stub, serving

RECIPE = dataclasses.replace(
    SMOKE,
    synthesis=dataclasses.replace(a_recipe(engine="endpoint", python_fraction=1.0), model="stub"),
    acceptance=AcceptanceRecipe(min_tokens=1, max_jaccard=0.7),
)
CHECKS = [
    synthesis_checks.no_synthetic_file_leaks,
    synthesis_checks.every_completion_is_accounted_for,
]
GENERATED = assets_of(teacher_model, synthetic_completions)


@pytest.fixture
def lake(lake_url: str, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    lake = Lake(url=lake_url)
    put_problems(lake)
    put_tokenizer(lake)
    put_opt_outs(lake)
    return lake


def a_python_subset(lake: Lake, **more: str) -> None:
    texts = {f"repository-{number}": a_module(f"topic{number}") for number in range(3)}
    a_subset(lake, "python", {**texts, **more})


def materialized(
    lake: Lake, stub: Stub | None, *selection: Any, recipe: Recipe = RECIPE, fails: bool = False
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(selection) or [*GENERATED, asset_of(synthetic_set), *CHECKS],
        resources={
            "lake": lake,
            "recipe": recipe,
            "jobs": LocalJobs(url=f"{lake.url}/jobs", vllm_python="/no/such/python"),
            "tracking": Tracking(uri=""),
            "teacher": Teacher(url=stub.url if stub else ""),
        },
        raise_on_error=not fails,
    )


def test_the_set_keeps_its_seeds_and_accounts_for_every_completion(lake: Lake) -> None:
    a_python_subset(lake)
    with serving() as stub:
        done = materialized(lake, stub)
    assert all(check.passed for check in done.get_asset_check_evaluations())
    made = current_artifact(lake, RECIPE, "synthetic_set")
    stats = shards.manifest(made.folder).stats
    assert stats["num_asked"] == 8 == stats["num_accepted"] + stats["num_refused"]
    rows = shards.read(made.folder, "documents").to_pylist()
    assert rows
    assert {row["seed_repository"] for row in rows} <= {f"repository-{n}" for n in range(3)}
    shown = done.asset_materializations_for_node("synthetic_set")[0].metadata
    assert "| python |" in str(shown["yield"].value)
    assert len(str(shown["yield_plot"].value)) < 128_000


def test_rewritten_files_stand_beside_inspired_ones_and_are_counted_by_mode(lake: Lake) -> None:
    a_python_subset(lake)
    recipe = dataclasses.replace(
        RECIPE, synthesis=dataclasses.replace(RECIPE.synthesis, rewrite_fraction=0.25)
    )
    with serving() as stub:
        done = materialized(lake, stub, recipe=recipe)
        prompts = [body["messages"][-1]["content"] for body in stub.asked]
    assert all(check.passed for check in done.get_asset_check_evaluations())
    assert sum("Rewrite this Python file" in prompt for prompt in prompts) == 2
    folder = current_artifact(lake, recipe, "synthetic_set").folder
    rows = shards.read(folder, "documents").to_pylist()
    assert {(row["mode"], row["prompt_version"]) for row in rows} == {
        ("oss_instruct", "2"),
        ("rewrite", "1"),
    }
    shown = done.asset_materializations_for_node("synthetic_set")[0].metadata
    assert "| python, rewritten |" in str(shown["yield"].value)


@needs_floor
def test_accepted_files_ran_in_the_sandbox_where_the_recipe_requires_it(lake: Lake) -> None:
    a_python_subset(lake)
    recipe = dataclasses.replace(
        RECIPE, acceptance=dataclasses.replace(RECIPE.acceptance, execution="required")
    )
    with serving() as stub:
        materialized(lake, stub, *GENERATED, asset_of(synthetic_set, recipe), recipe=recipe)
    folder = current_artifact(lake, recipe, "synthetic_set").folder
    num_accepted = shards.manifest(folder).stats["num_accepted"]
    assert num_accepted > 0
    assert shards.manifest(folder).stats["executions"]["ran"] >= num_accepted
    rows = shards.read(folder, "documents").to_pylist()
    assert {row["execution"] for row in rows} == {"ran"}
    jobs = Path(lake.url, "jobs", "synthetic_set", "all")
    assert len(list(jobs.glob("*/attempt-*/report.json"))) == 2  # one for each chunk


def test_nothing_is_asked_again_when_a_threshold_or_the_terms_wording_changes(lake: Lake) -> None:
    a_python_subset(lake)
    with serving() as stub:
        materialized(lake, stub)
        num_asked = len(stub.asked)
        strict = dataclasses.replace(
            RECIPE,
            acceptance=AcceptanceRecipe(min_tokens=10_000, max_jaccard=0.7),
            synthesis=dataclasses.replace(
                RECIPE.synthesis,
                training_terms="forbidden",
                training_permission="the provider's letter of 3 November",
            ),
        )
        materialized(lake, stub, recipe=strict)
        assert len(stub.asked) == num_asked == 8
    stats = shards.manifest(current_artifact(lake, strict, "synthetic_set").folder).stats
    assert stats["refused"] == {"too_short": 8}
    assert stats["training_terms"] == "forbidden"
    assert stats["training_permission"] == "the provider's letter of 3 November"


def test_a_leaked_seed_stops_the_run_though_its_names_are_changed(lake: Lake) -> None:
    leaked = PROBLEM["solution"].replace("passed", "so_far").replace("pairs", "ordered")
    head = "def middle(values, weights):\n"
    a_subset(lake, "python", {"planted": a_module("alpha") + "\n\n" + head + leaked})
    with serving() as stub:
        done = materialized(lake, stub, fails=True)
        assert stub.asked == []
    assert not done.success
    assert "HumanEval/1000" in json.dumps(
        [event.event_specific_data.error.to_string() for event in done.get_step_failure_events()]
    )


def test_an_endpoint_without_an_address_names_the_remedy(lake: Lake) -> None:
    a_python_subset(lake)
    with pytest.raises(ValueError, match="SNOW_TEACHER_URL"):
        materialized(lake, None, *GENERATED)


def test_a_missing_vllm_environment_names_the_remedy(lake: Lake, tmp_path: Path) -> None:
    a_python_subset(lake)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    recipe = dataclasses.replace(
        RECIPE, synthesis=a_recipe(model=str(tmp_path / "model"), python_fraction=1.0)
    )
    with pytest.raises(dg.Failure, match="the vllm environment is missing"):
        materialized(lake, None, *GENERATED, recipe=recipe)
