"""The wiring: one partition through both jobs, its checks, and nothing done twice."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.defs import evaluation_checks
from snow_assets.defs.evaluation import benchmark_results
from snow_assets.defs.materialize import current_artifact
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import COMPLETION, EXECUTION, LIKELIHOOD, RESULT
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.tracking import Tracking
from tests.evaluation.builders import RECIPE, put_lake
from tests.stage_assets import asset_of
from tests.vllm_server import PYTHON, require_vllm


def a_recipe() -> Recipe:
    curation = replace(SMOKE.curation, languages=("python", "sql"))
    return replace(SMOKE, curation=curation, evaluation=RECIPE)


def materialized(lake_url: str, partition: str) -> dg.ExecuteInProcessResult:
    checks = [
        evaluation_checks.canonical_solutions_passed,
        evaluation_checks.intervals_hold_their_values,
        evaluation_checks.results_are_complete,
    ]
    return dg.materialize(
        [asset_of(benchmark_results, a_recipe()), *checks],
        partition_key=partition,
        resources={
            "lake": Lake(url=lake_url),
            "tracking": Tracking(uri=""),
            "jobs": LocalJobs(url=f"{lake_url}/jobs", vllm_python=str(PYTHON)),
            "recipe": a_recipe(),
        },
    )


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_once(lake_url: str) -> None:
    require_vllm()
    put_lake(lake_url)
    first = materialized(lake_url, "continued")
    made = current_artifact(Lake(url=lake_url), a_recipe(), "benchmark_results", "continued")
    for table, schema in {
        "likelihoods": LIKELIHOOD,
        "completions": COMPLETION,
        "executions": EXECUTION,
        "results": RESULT,
    }.items():
        assert shards.read(made.folder, table).schema.equals(schema)
    assert set(shards.read(made.folder, "results")["checkpoint"].to_pylist()) == {"continued"}
    evaluations = {each.check_name: each.passed for each in first.get_asset_check_evaluations()}
    assert evaluations["intervals_hold_their_values"]
    assert evaluations["results_are_complete"]
    (event,) = first.get_asset_materialization_events()
    assert {"results", "bits_per_byte"} <= set(event.materialization.metadata)
    jobs = sorted(Path(lake_url, "jobs").rglob("report.json"))
    materialized(lake_url, "continued")
    assert sorted(Path(lake_url, "jobs").rglob("report.json")) == jobs


def test_a_checkpoint_that_is_not_there_is_named(lake_url: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"enhanced_checkpoint .* materialize it first"):
        materialized(lake_url, "enhanced")
