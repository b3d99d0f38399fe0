"""The corpus as Dagster sees it: what is made, reused, re-made and refused."""

import dataclasses
import shutil
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.corpus import validation
from snow_assets.defs import corpus, corpus_checks
from snow_assets.defs.materialize import current_artifact
from snow_assets.recipe import SMOKE, CurationExecution, Recipe
from snow_assets.recipe.experiments import PromotionGate
from snow_assets.stages import Artifact, StageRun
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.tracking import Tracking
from tests.corpus.builders import GPL, a_repository, a_source
from tests.stage_assets import asset_of, assets_of

CHECKS = [
    corpus_checks.raw_files_add_up,
    corpus_checks.raw_licenses_are_permissive,
    corpus_checks.raw_corpus_has_its_sources,
    corpus_checks.opt_outs_match_and_left,
]
INPUTS = assets_of(corpus.opt_outs, corpus.benchmark_problems, corpus.exemplars)
RAW = asset_of(corpus.raw_code_corpus)


def a_tiny_recipe(tmp_path: Path, *, opted_out: str = "") -> Recipe:
    """SMOKE with one source, a folder of two repositories and one that is copyleft."""
    for name in ("one", "two"):
        a_repository(tmp_path / "code" / name, {"a.py": f"x = '{name}'\n"})
    a_repository(tmp_path / "code" / "three", {"a.py": "x = 3\n"}, license_=GPL)
    opt_outs = tmp_path / "opt_outs.txt"
    opt_outs.write_text(opted_out)
    made = dataclasses.replace(
        SMOKE.corpus,
        sources=(dataclasses.replace(a_source(tmp_path / "code", kind="folder"), name="stdlib"),),
        opt_out_list=str(opt_outs),
        min_repositories=2,
    )
    return dataclasses.replace(SMOKE, corpus=made)


def materialized(
    recipe: Recipe, lake: Lake, partition: str = "stdlib"
) -> tuple[dg.ExecuteInProcessResult, Artifact]:
    instance = dg.DagsterInstance.ephemeral()
    resources = {"lake": lake, "tracking": Tracking(uri=""), "recipe": recipe}
    dg.materialize(INPUTS, instance=instance, resources=resources)
    everything = [*INPUTS, RAW, *CHECKS]
    result = dg.materialize(
        everything,
        selection=[RAW],
        instance=instance,
        resources=resources,
        partition_key=partition,
    )
    return result, current_artifact(lake, recipe, "raw_code_corpus", partition)


def test_a_source_is_ingested_checked_and_not_ingested_again(tmp_path: Path, lake_url: str) -> None:
    recipe, lake = a_tiny_recipe(tmp_path), Lake(url=lake_url)
    first, made = materialized(recipe, lake)
    assert {check.check_name: check.passed for check in first.get_asset_check_evaluations()} == {
        "raw_files_add_up": True,
        "raw_licenses_are_permissive": True,
        "raw_corpus_has_its_sources": True,
        "opt_outs_match_and_left": True,
    }
    stats = shards.manifest(made.folder).stats
    assert (stats["num_files_in"], stats["num_files"], stats["num_repositories"]) == (3, 2, 2)
    again, same = materialized(recipe, lake)
    assert same == made
    (event,) = again.asset_materializations_for_node("raw_code_corpus")
    assert event.metadata["reused"].value is True


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_of_a_ray_node_ingests_what_the_process_of_a_run_ingests(
    tmp_path: Path, lake_url: str
) -> None:
    """The job is handed the inputs that are no part of the fingerprint: opt-outs, exemplars."""
    recipe, lake = a_tiny_recipe(tmp_path, opted_out="TWO\n"), Lake(url=lake_url)
    _, made = materialized(recipe, lake)
    manifest = shards.manifest(made.folder)
    assert manifest.stats["reasons"]["opted_out"] == 1
    shutil.rmtree(made.folder)

    node = CurationExecution(nodes=1, cpus=1, memory_gib=2)
    operation = dataclasses.replace(recipe.operation, curation=node)
    gate = PromotionGate(experiment="paper_claims", arm="selected_x1", baseline="random_x1")
    recipe = dataclasses.replace(recipe, operation=operation, promotion_gates=(gate,))
    # Again after the artifact was deleted: the report of the first job stands for nothing then.
    for attempt in ("attempt-001", "attempt-002"):
        in_job = dg.materialize(
            [asset_of(corpus.raw_code_corpus, recipe)],
            resources={
                "lake": lake,
                "jobs": LocalJobs(url=f"{lake.url}/jobs", vllm_python="none"),
                "tracking": Tracking(uri=""),
                "recipe": recipe,
            },
            partition_key="stdlib",
        )
        (event,) = in_job.get_asset_materialization_events()
        metadata = {name: value.value for name, value in event.materialization.metadata.items()}
        assert (metadata["folder"], metadata["reused"]) == (made.folder, False)
        assert "/jobs/raw_code_corpus/stdlib/" in metadata["job"]
        assert metadata["job"].endswith(attempt)
        assert shards.manifest(made.folder).digest == manifest.digest
        assert shards.manifest(made.folder).stats == manifest.stats
        shutil.rmtree(made.folder)


def test_a_source_that_is_another_snapshot_than_planned_is_refused(
    tmp_path: Path, lake_url: str
) -> None:
    run = StageRun(
        stage=corpus.raw_code_corpus,
        partition="stdlib",
        recipe=a_tiny_recipe(tmp_path),
        lake=Lake(url=lake_url),
        resolve=lambda asset, partition: pytest.fail(f"{asset} [{partition}] is read"),
        folder=f"{lake_url}/out",
        config={"snapshot": "of another image"},
        context=dg.build_asset_context(),
    )
    with pytest.raises(ValueError, match="source stdlib is another snapshot here than the one"):
        corpus.raw_code_corpus.run(run)


def test_a_new_opt_out_makes_the_corpus_anew_without_the_repository(
    tmp_path: Path, lake_url: str
) -> None:
    lake = Lake(url=lake_url)
    _, before = materialized(a_tiny_recipe(tmp_path), lake)
    _, after = materialized(a_tiny_recipe(tmp_path, opted_out="TWO\n"), lake)
    assert before.fingerprint != after.fingerprint
    names = [
        shards.read(made.folder, "files")["repository"].to_pylist() for made in (before, after)
    ]
    assert names == [["one", "two"], ["one"]]


def test_a_partition_that_the_recipe_does_not_know_is_refused(
    tmp_path: Path, lake_url: str
) -> None:
    with pytest.raises(ValueError, match=r"no source 'native', only \['stdlib'\]"):
        materialized(a_tiny_recipe(tmp_path), Lake(url=lake_url), "native")


def test_a_licence_that_left_the_list_and_a_missing_source_fail_their_checks(
    tmp_path: Path, lake_url: str
) -> None:
    recipe = a_tiny_recipe(tmp_path)
    _, made = materialized(recipe, Lake(url=lake_url))
    assert validation.validate_licenses([made.folder], ("Apache-2.0",)) == [
        "2 files are under MIT, which is not on the allow-list"
    ]
    assert validation.validate_sources({}, recipe.corpus) == [
        "the source stdlib was never materialized",
        "0 repositories; the recipe requires 2",
    ]


def test_an_opt_out_moves_only_the_sources_that_hold_the_repository(
    tmp_path: Path, lake_url: str
) -> None:
    lake, recipe = Lake(url=lake_url), a_tiny_recipe(tmp_path)
    opt_outs = Path(recipe.corpus.opt_out_list)
    _, before = materialized(recipe, lake)
    opt_outs.write_text("other/repository\n")
    _, elsewhere = materialized(recipe, lake)
    assert elsewhere == before
    opt_outs.write_text("other/repository\ntwo\n")
    _, after = materialized(recipe, lake)
    assert after != before
    assert shards.manifest(after.folder).config["opted_out"] == ["two"]


def test_every_line_of_the_list_is_reported_with_what_it_matches(
    tmp_path: Path, lake_url: str
) -> None:
    lake = Lake(url=lake_url)
    recipe = a_tiny_recipe(tmp_path)
    materialized(recipe, lake)
    Path(recipe.corpus.opt_out_list).write_text("https://git.example.org/a/b\nTWO # asked\n")
    instance = dg.DagsterInstance.ephemeral()
    resources = {"lake": lake, "tracking": Tracking(uri=""), "recipe": recipe}
    done = dg.materialize([asset_of(corpus.opt_outs)], instance=instance, resources=resources)
    (event,) = done.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert "raw_code_corpus [stdlib]" in str(metadata["traces"].value)
    report = str(metadata["matches"].value)
    assert "1 of 2 lines match nothing" in report
    assert "| 1 | `https://git.example.org/a/b` | `a/b` | **none** | 0 |" in report
    assert "| 2 | `TWO` | `two` | stdlib | 1 |" in report
    again, _ = materialized(recipe, lake)
    (check,) = [
        one
        for one in again.get_asset_check_evaluations()
        if one.check_name == "opt_outs_match_and_left"
    ]
    assert not check.passed
    assert "line 1: 'https://git.example.org/a/b' (read as a/b)" in str(check.description)
    assert "left" not in str(check.description)
