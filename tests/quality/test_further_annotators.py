"""Further annotators of a recipe in Dagster: stages of their own, and one that selects."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from pydantic import TypeAdapter

from snow_assets.defs import quality, selection
from snow_assets.defs import quality_checks as checks
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.stage_job import StageRequest
from snow_assets.quality.gate import gate_failures, read_annotator
from snow_assets.recipe import (
    SMOKE,
    AnnotatorRecipe,
    FurtherAnnotator,
    Recipe,
)
from snow_assets.recipe.data import selection_values
from snow_assets.runtime import worker
from snow_assets.stages import Stage, StageInputs
from snow_assets.storage import shards
from tests.quality.conftest import Made
from tests.quality.test_assets import resources, run
from tests.quality.test_grades import grade_table, graded_recipe, texts
from tests.stage_assets import asset_of


@pytest.mark.slow
def test_a_further_annotator_has_its_own_examples_gate_and_scores(
    made: Made, tmp_path: Path
) -> None:
    run(made, quality.annotator_examples)
    run(made, quality.quality_annotator)
    alone = run(made, quality.quality_scores, "python")

    grades = grade_table(tmp_path / "people.jsonl", texts())
    # Its gates fail, which stops nothing: its scores are compared only.
    learner = replace(graded_recipe(made.recipe.encoder, grades), min_auc=1.0)
    further = FurtherAnnotator(name="of_grades", annotator=learner)
    both = resources(made)
    both["recipe"] = replace(both["recipe"], further_annotators=(further,))
    stages = quality.annotator_stages("of_grades")
    for stage, partition in (
        (quality.graded_texts, "people"),
        (stages.examples, None),
        (stages.annotator, None),
        (stages.scores, "python"),
    ):
        assets = [asset_of(stage, both["recipe"])]
        assert dg.materialize(assets, resources=both, partition_key=partition).success
    lake = both["lake"]
    main, other = (
        current_artifact(lake, both["recipe"], name, "python").folder
        for name in ("quality_scores", "of_grades_quality_scores")
    )
    assert alone["folder"] == main
    scored = [shards.read(folder, "scores").to_pylist() for folder in (main, other)]
    assert [row["text_id"] for row in scored[0]] == [row["text_id"] for row in scored[1]]
    assert {row["annotator"] for row in scored[0]}.isdisjoint(row["annotator"] for row in scored[1])
    annotator = read_annotator(
        current_artifact(lake, both["recipe"], "of_grades_quality_annotator").folder
    )
    assert annotator.grade_gates[0].graders == "human"
    assert gate_failures(annotator.all_gates)
    # The other one's values are no part of the selecting one's address.
    again = dg.materialize(
        [asset_of(quality.quality_annotator, both["recipe"])], resources=both
    ).asset_materializations_for_node("quality_annotator")
    assert again[0].metadata["reused"].value is True


def work_of_pod(request: StageRequest, job: str) -> str:
    """The output of a job whose pod knows no recipe but the request's."""
    shards.put(f"{job}/{worker.REQUEST}", TypeAdapter(StageRequest).dump_json(request))
    environment = {name: value for name, value in os.environ.items() if name != "SNOW_RECIPE"}
    command = [sys.executable, "-m", "snow_assets.defs.stage_job", job]
    subprocess.run(command, env=environment, check=True)
    return request.output


def test_a_further_annotator_selects_by_its_own_gates(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = quality.annotator_stages("other")
    monkeypatch.setitem(quality.FURTHER_ANNOTATORS, "other", stages)
    inputs = (*selection.high_quality_subset.inputs, *selection.selecting_inputs(stages))
    subset = replace(selection.high_quality_subset, inputs=inputs)
    base = resources(made)
    strict = replace(made.recipe, min_auc=1.0, min_length_matched_auc=1.0)
    other = replace(made.recipe, inverse_regularization=2.0)

    def selected_by(own: AnnotatorRecipe, further: AnnotatorRecipe) -> Recipe:
        return replace(
            base["recipe"],
            annotator=own,
            further_annotators=(FurtherAnnotator(name="other", annotator=further),),
            selection=replace(base["recipe"].selection, annotator="other"),
        )

    def run_all(recipe: Recipe, *steps: tuple[Stage, str | None]) -> dg.ExecuteInProcessResult:
        for stage, partition in steps:
            is_own = stage is quality.quality_annotator
            result = dg.materialize(
                [asset_of(stage, recipe), *([checks.annotator_passes_its_gate] if is_own else [])],
                resources={**base, "recipe": recipe},
                partition_key=partition,
                raise_on_error=False,
            )
            if not result.success:
                break
        return result

    # The recipe's own annotator fails its gates, and selects nothing: it stops nothing.
    recipe = selected_by(strict, other)
    result = run_all(recipe, (quality.annotator_examples, None), (quality.quality_annotator, None))
    assert result.success
    assert not result.get_asset_check_evaluations()[0].passed
    of_other = ((stages.examples, None), (stages.annotator, None), (stages.scores, "python"))
    steps = ((quality.quality_scores, "python"), *of_other, (subset, "python"))
    assert run_all(recipe, *steps).success
    lake = base["lake"]
    own, others, selected = (
        current_artifact(lake, recipe, name, "python").folder
        for name in ("quality_scores", "other_quality_scores", "high_quality_subset")
    )
    annotator = read_annotator(current_artifact(lake, recipe, "other_quality_annotator").folder)
    (language,) = shards.read(selected, "languages").to_pylist()
    assert language["annotator"] == annotator.version
    logits = {
        folder: {row["text_id"]: row["logit"] for row in shards.read(folder, table).to_pylist()}
        for folder, table in ((own, "scores"), (others, "scores"), (selected, "documents"))
    }
    assert logits[selected] == logits[others] != logits[own]
    inputs_of_subset = StageInputs(
        stage=subset,
        partition="python",
        recipe=recipe,
        lake=lake,
        resolve=partial(current_artifact, lake, recipe),
    )
    folder_of_job = work_of_pod(
        StageRequest(
            stage=subset.name,
            partition="python",
            output=f"{made.lake}-job/subset",
            lake=lake.url,
            inputs=tuple(inputs_of_subset.declared_inputs()),
            recipe=recipe,
            config=inputs_of_subset.artifact_spec().config,
        ),
        f"{made.lake}-job",
    )
    digests = {shards.content_digest(shards.records(f)) for f in (selected, folder_of_job)}
    assert len(digests) == 1

    failing = selected_by(made.recipe, replace(strict, inverse_regularization=2.0))
    result = run_all(failing, (stages.annotator, None), (stages.scores, "python"))
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "may not score" in str(failure.step_failure_data.error)
    # Where it selects nothing, it scores.
    compared = replace(failing, selection=replace(failing.selection, annotator=None))
    assert run_all(compared, (stages.scores, "python")).success


def test_what_selects_is_an_annotator_of_the_recipe() -> None:
    with pytest.raises(ValueError, match=r"selection.annotator is 'other', and .* are \[\]"):
        replace(SMOKE, selection=replace(SMOKE.selection, annotator="other"))
    assert "annotator" not in selection_values(SMOKE.selection)


def test_a_further_annotator_learns_from_groups_that_there_are() -> None:
    other = replace(SMOKE.annotator, positive_groups=("none",))
    further = FurtherAnnotator(name="other", annotator=other)
    with pytest.raises(ValueError, match="have no group 'none'"):
        replace(SMOKE, further_annotators=(further,))
    further = FurtherAnnotator(name="other", annotator=SMOKE.annotator)
    with pytest.raises(ValueError, match="two further_annotators share a name"):
        replace(SMOKE, further_annotators=(further, further))
