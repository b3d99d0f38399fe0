"""A comparison that is worse keeps the recipe's alias where it is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.cli import mlflow_rebuild
from snow_assets.definitions import defs
from snow_assets.defs.experiments_checks import promotion_gates_are_not_worse
from snow_assets.defs.materialize import current_artifact
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.recipe.experiments import PromotionGate
from snow_assets.stages import StageResult, StageRun, stage
from snow_assets.storage import shards
from snow_assets.storage.pointers import pointer_content
from snow_assets.storage.schemas import COMPARISON
from snow_resources.lake import Lake
from snow_resources.tracking import TrackedModel, Tracking
from tests.stage_assets import asset_of
from tests.tables.builders import row_of

GATED = replace(
    SMOKE,
    promotion_gates=(
        PromotionGate(experiment="paper_claims", arm="selected_x1", baseline="random_x1"),
    ),
)


@stage(
    group="pretraining",
    code_version="1",
    config=lambda inputs: {"seed": inputs.recipe.pretraining.seed},
)
def gated_checkpoint(run: StageRun) -> StageResult:
    """A model of nothing."""
    shards.put_file(run.folder, "model/weights", b"\0")
    return StageResult(stats={}, model=TrackedModel(name="gated_checkpoint", parent=None))


def put_outcome(lake: Lake, outcome: str) -> None:
    """The comparisons of paper_claims: of the gate's arms as stated, and another one that is
    worse."""
    folder = lake.artifact("experiment_comparisons", "paper_claims", outcome)
    rows = [
        row_of(COMPARISON, arm=arm, baseline="random_x1", is_control=False, outcome=decided)
        for arm, decided in (("selected_x1", outcome), ("lowest_x1", "worse"))
    ]
    shards.put_table(folder, "comparisons", 0, rows, COMPARISON)
    manifest = shards.finish(
        folder,
        asset="experiment_comparisons",
        partition="paper_claims",
        fingerprint=outcome,
        code_version="2",
        recipe="SMOKE",
        config={},
        inputs=[],
        stats={},
    )
    content = pointer_content(outcome, manifest.digest, {})
    shards.put(lake.pointer("SMOKE", "experiment_comparisons", "paper_claims"), content)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materialize(
    lake: Lake, tracking: Tracking, instance: dg.DagsterInstance, recipe: Recipe
) -> None:
    resources = {"lake": lake, "tracking": tracking, "recipe": recipe}
    assert dg.materialize([asset_of(gated_checkpoint)], instance=instance, resources=resources)


def promoted(tracking: Tracking) -> str | None:
    """The folder of the model that the recipe's alias names."""
    from mlflow.exceptions import MlflowException

    from snow_resources.mlflow_runs import client_of

    try:
        version = client_of(tracking.uri).get_model_version_by_alias("gated_checkpoint", "SMOKE")
    except MlflowException:
        return None
    return str(version.tags["folder"])


def test_no_model_is_promoted_before_its_comparison_is_made_and_while_it_is_worse(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, tracking = Lake(url=lake_url), Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    materialize(lake, tracking, instance, GATED)
    assert promoted(tracking) is None
    put_outcome(lake, "undecided")
    materialize(lake, tracking, instance, GATED)  # the same checkpoint
    first = current_artifact(lake, GATED, "gated_checkpoint").folder
    assert promoted(tracking) == first

    changed = replace(GATED, pretraining=replace(GATED.pretraining, seed=7))
    put_outcome(lake, "worse")
    materialize(lake, tracking, instance, changed)
    second = current_artifact(lake, changed, "gated_checkpoint").folder
    assert second != first
    assert promoted(tracking) == first

    rebuilt = Tracking(uri=f"sqlite:///{tmp_path / 'rebuilt.db'}")
    mlflow_rebuild.rebuild(lake_url, rebuilt, changed)
    assert promoted(rebuilt) is None
    put_outcome(lake, "better")
    materialize(lake, tracking, instance, changed)
    assert promoted(tracking) == second


@pytest.mark.parametrize(
    ("outcome", "description"),
    [
        (None, "paper_claims: selected_x1 against random_x1 is not decided: `make experiment"),
        ("worse", "paper_claims: selected_x1 against random_x1 is worse"),
        ("better", None),
        ("undecided", None),
    ],
)
def test_the_check_blocks_on_what_the_recipe_names(
    lake_url: str, outcome: str | None, description: str | None
) -> None:
    lake = Lake(url=lake_url)
    if outcome:
        put_outcome(lake, outcome)
    result = promotion_gates_are_not_worse(lake, GATED)
    assert result.passed is (description is None)
    assert (result.description or "").startswith(description or "")
    assert promotion_gates_are_not_worse(lake, SMOKE).passed
    (check,) = (
        key
        for key in defs.resolve_asset_graph().asset_check_keys
        if key.name == "promotion_gates_are_not_worse"
    )
    assert defs.resolve_asset_graph().get(check).blocking


def test_a_gate_names_a_comparison_of_the_recipe() -> None:
    gate = PromotionGate(experiment="paper_claims", arm="random_x1", baseline="selected_x1")
    with pytest.raises(ValueError, match="paper_claims: random_x1 against selected_x1, and the"):
        replace(SMOKE, promotion_gates=(gate,))
