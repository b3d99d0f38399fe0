"""The stages of quality in Dagster: assets, checks, and new scores when something is new."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import datasets
import pytest

from snow_assets.defs import quality, selection
from snow_assets.defs import quality_checks as checks
from snow_assets.recipe import (
    SMOKE,
    CurationExecution,
)
from snow_assets.stages import Stage
from snow_assets.storage import checked_json, shards
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.tracking import Tracking
from tests.artifacts import point
from tests.quality.builders import a_lake, corpus_files
from tests.quality.conftest import Made
from tests.recipes import smoke_phases
from tests.stage_assets import asset_of

LANGUAGES = SMOKE.curation.languages


BUDGET = 2_048  # one step of the continued phase, which the recipe asks for at least


def resources(made: Made) -> dict[str, Any]:
    recipe = replace(
        SMOKE,
        annotator=made.recipe,
        selection=replace(SMOKE.selection, budget_tokens=BUDGET, ungated_languages=()),
        operation=replace(SMOKE.operation, scoring_round=made.scoring_round),
        pretraining=replace(
            SMOKE.pretraining, phases=smoke_phases({"continued": {"tokens": BUDGET}})
        ),
    )
    return {
        "lake": Lake(url=made.lake),
        "jobs": LocalJobs(url=f"{made.lake}/jobs", vllm_python="none"),
        "tracking": Tracking(uri=""),
        "recipe": recipe,
    }


def run(made: Made, stage: Stage, partition: str | None = None, *also: Any) -> dict[str, Any]:
    """Materialize one asset with its checks, all passed; its metadata."""
    done = dg.materialize(
        [asset_of(stage), *also], resources=resources(made), partition_key=partition
    )
    evaluations = done.get_asset_check_evaluations()
    assert len(evaluations) == len(also)
    assert all(check.passed for check in evaluations), evaluations
    (event,) = done.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def rescored(made: Made) -> dict[str, dict[str, Any]]:
    """Score and select every language again: language -> stats of its scores."""
    stats = {}
    for language in LANGUAGES:
        stats[language] = run(made, quality.quality_scores, language)["stats"]
    for language in LANGUAGES:
        run(made, selection.high_quality_subset, language)
    return stats


@pytest.mark.slow
def test_the_assets_make_a_subset_whose_checks_pass_and_reuse_it(made: Made) -> None:
    stages: list[tuple[dg.AssetsDefinition, str | None, list[Any]]] = [
        (
            quality.annotator_examples,
            None,
            [checks.examples_are_not_held_out, checks.examples_are_split_by_repository],
        ),
        (quality.quality_annotator, None, [checks.annotator_passes_its_gate]),
        (quality.quality_scores, "python", [checks.every_training_text_has_one_score]),
        (
            selection.high_quality_subset,
            "python",
            [checks.selected_documents_are_trainable, checks.languages_meet_their_budget],
        ),
        # A language of the recipe of which there is no document.
        (quality.quality_scores, "c", []),
        (selection.high_quality_subset, "c", []),
        (selection.high_quality_dataset, "c", []),
        (selection.high_quality_dataset, "python", []),
    ]
    for is_again in (False, True):
        for asset, partition, also in stages:
            seen = run(made, asset, partition, *also)
            assert seen["reused"] is is_again
            pictures = [value for value in seen.values() if "base64" in str(value)]
            assert all(len(str(value)) < 160_000 for value in pictures)
    folder = seen["folder"]
    loaded = datasets.load_dataset(folder, cache_dir=f"{made.lake}/cache")["train"]
    assert sum(row["repeats"] * row["num_tokens"] for row in loaded) >= 0.9 * BUDGET
    assert all(times > 0 for times in loaded["repeats"])
    assert len(set(loaded["text_id"])) == len(loaded)
    assert "repository-" in (Path(folder) / "ATTRIBUTION.md").read_text()
    selected = {}
    for language in ("c", "python"):
        subset = run(made, selection.high_quality_subset, language)["folder"]
        (selected[language],) = shards.read(subset, "languages").to_pylist()
    assert not selected["c"]["selected"]
    assert selected["c"]["gate_failures"] == "the annotator has no held-out positive in c"
    assert (selected["python"]["selected"], selected["python"]["gate_failures"]) == (True, None)
    assert selected["python"]["budget_tokens"] == BUDGET


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_of_a_ray_node_selects_what_the_process_of_a_run_selects(made: Made) -> None:
    """The job is handed the inputs that are no part of the fingerprint, too: all languages."""
    for stage in (quality.annotator_examples, quality.quality_annotator):
        run(made, stage)
    run(made, quality.quality_scores, "python")
    folder = run(made, selection.high_quality_subset, "python")["folder"]
    digest = shards.manifest(folder).digest
    shutil.rmtree(folder)

    given = resources(made)
    node = CurationExecution(nodes=1, cpus=1, memory_gib=2)
    recipe = replace(given["recipe"], operation=replace(given["recipe"].operation, curation=node))
    in_job = dg.materialize(
        [asset_of(selection.high_quality_subset, recipe)],
        resources={**given, "recipe": recipe},
        partition_key="python",
    )
    (event,) = in_job.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (metadata["folder"], metadata["reused"]) == (folder, False)
    assert "/jobs/high_quality_subset/python/" in metadata["job"]
    assert shards.manifest(folder).digest == digest


@pytest.mark.slow
def test_only_new_texts_are_scored_and_all_by_a_new_annotator_or_round(made: Made) -> None:
    run(made, quality.annotator_examples)
    run(made, quality.quality_annotator)
    first = rescored(made)
    assert first["python"]["num_scored"] == first["python"]["num_texts"] > 0
    assert run(made, quality.quality_scores, "python")["reused"] is True

    # One new source: only the new is scored.
    grown = a_lake(f"{made.lake}-grown", [*corpus_files(), *corpus_files(3, source="new")])
    adopt(f"{made.lake}-grown", made.lake, grown)
    second = rescored(made)["python"]
    assert 0 < second["num_scored"] == second["num_texts"] - first["python"]["num_texts"]
    assert second["num_reused"] == first["python"]["num_texts"]

    # A new annotator: everything once more.
    made = replace(made, recipe=replace(made.recipe, inverse_regularization=2.0))
    run(made, quality.quality_annotator)
    third = rescored(made)["python"]
    assert third["num_scored"] == third["num_texts"] == second["num_texts"]
    assert third["annotator"] != second["annotator"]

    # A new round: everything once more by the same annotator.
    made = replace(made, scoring_round="2026-12")
    fourth = rescored(made)["python"]
    assert fourth["num_scored"] == fourth["num_texts"] == third["num_texts"]
    assert fourth["annotator"] == third["annotator"]


def rename_in(path: Path) -> None:
    """Put another artifact's name into a file that carries a checksum of itself."""
    value = json.loads(path.read_text().replace("0" * 32, "9" * 32))
    path.write_bytes(checked_json.dump({key: value[key] for key in value.keys() - {"checksum"}}))


def adopt(grown: str, lake: str, clean: dict[str, str]) -> None:
    """Bring another lake's clean corpora, and all that they were made from, into this one."""
    for asset in (
        "documents",
        "signatures",
        "candidate_pairs",
        "verified_pairs",
        "near_duplicates",
        "held_out_repositories",
        "contamination",
        "tokenizer",
        "clean_corpus",
    ):
        for partition in shards.names(f"{grown}/{asset}"):
            source = Path(f"{grown}/{asset}/{partition}/{'0' * 32}")
            target = Path(f"{lake}/{asset}/{partition}/{'9' * 32}")
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            rename_in(target / "manifest.json")
    for folder in clean.values():
        target = Path(folder.replace(grown, lake).replace("0" * 32, "9" * 32))
        for path in target.glob("records/*.json"):
            rename_in(path)
        manifest = json.loads((target / "manifest.json").read_text())
        assert manifest["fingerprint"] == "9" * 32
        point(lake, str(target))


def test_a_failed_gate_stops_scoring_in_a_separate_run(made: Made) -> None:
    run(made, quality.annotator_examples)
    strict = replace(made.recipe, min_auc=1.0, min_length_matched_auc=1.0)
    failing = replace(made, recipe=strict)
    done = dg.materialize(
        [asset_of(quality.quality_annotator), checks.annotator_passes_its_gate],
        resources=resources(failing),
        raise_on_error=False,
    )
    (check,) = done.get_asset_check_evaluations()
    assert not check.passed
    assert "minimum 1.0" in str(check.description)
    later = dg.materialize(
        [asset_of(quality.quality_scores)],
        resources=resources(failing),
        partition_key="python",
        raise_on_error=False,
    )
    assert not later.success
    assert not shards.exists(f"{made.lake}/current/SMOKE/quality_scores/python.json")


def test_a_subset_without_all_languages_is_refused_by_name(made: Made) -> None:
    Path(f"{made.lake}/current/SMOKE/clean_corpus/sql.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"clean_corpus \[sql\] was never materialized"):
        run(made, quality.annotator_examples)
