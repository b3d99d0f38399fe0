"""A comparison that is worse, or not about the present recipe, keeps the recipe's alias where it
is."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.cli import mlflow_rebuild
from snow_assets.cli.promote import promote
from snow_assets.defs.experiments import experiment_arms, experiment_comparisons
from snow_assets.defs.experiments_checks import promotion_gates_are_not_worse
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.promotion import promotion_violations
from snow_assets.evaluation.problems import TEST_HALF
from snow_assets.experiments.arms import ArmRun, arm_runs
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.recipe.experiments import PromotionGate
from snow_assets.stages import StageInputs, StageResult, StageRun, partition_names, stage
from snow_assets.storage import shards
from snow_assets.storage.pointers import pointer_content
from snow_assets.storage.schemas.evaluation import LIKELIHOOD
from snow_assets.storage.schemas.experiments import ARM_ANNOTATOR, ARM_RESULT
from snow_resources.lake import Lake
from snow_resources.tracking import TrackedModel, Tracking
from tests.stage_assets import asset_of
from tests.tables.lake import row_of

UNREACHABLE = "http://127.0.0.1:9"
CLAIMS = replace(SMOKE.experiments[0], seeds=(0, 1), bootstrap_resamples=200)
GATED = replace(
    SMOKE,
    experiments=(CLAIMS, replace(CLAIMS, name="other")),
    promotion_gates=(
        PromotionGate(experiment="paper_claims", arm="selected_x1", baseline="random_x1"),
    ),
)
CHANGED = replace(GATED, pretraining=replace(GATED.pretraining, max_grad_norm=0.5))
CLAIM = "paper_claims: selected_x1 against random_x1"
NATS = {"better": 40.0, "worse": 90.0, "undecided": 60.0}
"""What the arm selected_x1 scores; the others score 60."""


@stage(
    group="pretraining",
    code_version="1",
    config=lambda inputs: {"max_grad_norm": inputs.recipe.pretraining.max_grad_norm},
)
def gated_checkpoint(run: StageRun) -> StageResult:
    """A model of nothing."""
    shards.put_file(run.folder, "model/weights", b"\0")
    return StageResult(stats={}, model=TrackedModel(name="gated_checkpoint", parent=None))


def put_corpus(lake: Lake, recipe: Recipe, digest: str = "corpus") -> None:
    """Pointers of what the recipe's arms share."""
    for read in experiment_arms.inputs:
        for name in partition_names(read.stage.partitions, recipe):
            content = pointer_content(digest, digest, {})
            shards.put(lake.pointer(recipe.name, read.stage.name, name), content)


def put_arm(lake: Lake, recipe: Recipe, run: ArmRun, nats: float) -> None:
    """An arm of the present recipe, with the nats of each of four texts of 20 bytes."""
    inputs = StageInputs(
        stage=experiment_arms,
        partition=run.partition,
        recipe=recipe,
        lake=lake,
        resolve=partial(current_artifact, lake, recipe),
    )
    spec = inputs.artifact_spec()
    folder = lake.artifact(spec.asset, spec.partition, spec.fingerprint)
    shutil.rmtree(folder, ignore_errors=True)
    names = {"benchmark": CLAIMS.benchmark, "subset": TEST_HALF}
    texts = [
        row_of(LIKELIHOOD, **names, sample_id=str(text), num_bytes=20, nats=nats)
        for text in range(4)
    ]
    result = row_of(ARM_RESULT, **names, experiment=run.experiment.name, arm=run.arm, seed=run.seed)
    shards.put_table(folder, "likelihoods", 0, texts, LIKELIHOOD)
    shards.put_table(folder, "arm_results", 0, [result], ARM_RESULT)
    shards.put_table(folder, "arm_annotators", 0, [], ARM_ANNOTATOR)
    manifest = shards.finish(
        folder,
        asset=spec.asset,
        partition=spec.partition,
        fingerprint=spec.fingerprint,
        code_version=spec.code_version,
        recipe=recipe.name,
        config=spec.config,
        inputs=[read.as_input() for read in spec.inputs],
        stats={},
    )
    content = pointer_content(spec.fingerprint, manifest.digest, {})
    shards.put(lake.pointer(recipe.name, spec.asset, spec.partition), content)


def compare(
    lake: Lake,
    recipe: Recipe,
    nats: Mapping[str, float],
    experiment: str = "paper_claims",
) -> dg.ExecuteInProcessResult:
    """Run the comparisons of an experiment and their check, on arms with these nats; others have
    60."""
    put_corpus(lake, recipe)
    for run in arm_runs(recipe):
        if run.experiment.name == experiment:
            put_arm(lake, recipe, run, nats.get(run.arm, 60.0))
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [asset_of(experiment_comparisons, recipe), promotion_gates_are_not_worse],
            instance=instance,
            partition_key=experiment,
            resources={"lake": lake, "tracking": Tracking(uri=""), "recipe": recipe},
        )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materialize(
    lake: Lake, tracking: Tracking, instance: dg.DagsterInstance, recipe: Recipe
) -> str:
    """Make the checkpoint, and return its folder."""
    resources = {"lake": lake, "tracking": tracking, "recipe": recipe}
    assert dg.materialize([asset_of(gated_checkpoint)], instance=instance, resources=resources)
    return current_artifact(lake, recipe, "gated_checkpoint").folder


def promoted(uri: str, recipe: str = "SMOKE") -> str | None:
    """The folder of the model that the recipe's alias names."""
    from mlflow.exceptions import MlflowException

    from snow_resources.mlflow_runs import client_of

    try:
        version = client_of(uri).get_model_version_by_alias("gated_checkpoint", recipe)
    except MlflowException:
        return None
    return str(version.tags["folder"])


def test_no_model_is_promoted_before_its_comparison_is_made_and_while_it_is_worse(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, tracking = Lake(url=lake_url), Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    first = materialize(lake, tracking, instance, GATED)
    assert promoted(tracking.uri) is None
    compare(lake, GATED, {"selected_x1": NATS["undecided"]})
    materialize(lake, tracking, instance, GATED)  # the same checkpoint
    assert promoted(tracking.uri) == first

    compare(lake, CHANGED, {"selected_x1": NATS["worse"]})
    second = materialize(lake, tracking, instance, CHANGED)
    assert second != first
    assert promoted(tracking.uri) == first
    compare(lake, CHANGED, {"selected_x1": NATS["better"]})
    materialize(lake, tracking, instance, CHANGED)
    assert promoted(tracking.uri) == second


def test_a_changed_recipe_is_not_promoted_by_the_comparison_of_the_former_one(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, tracking = Lake(url=lake_url), Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    compare(lake, GATED, {"selected_x1": NATS["better"]})
    first = materialize(lake, tracking, instance, GATED)
    assert promoted(tracking.uri) == first
    materialize(lake, tracking, instance, CHANGED)
    assert promoted(tracking.uri) == first
    stale = f"{CLAIM} was decided for another config or corpus than the recipe has now: `make exp"
    (violation,) = promotion_violations(lake, CHANGED)
    assert violation.startswith(stale)

    other_seeds = replace(GATED, experiments=(replace(CLAIMS, min_difference=0.5),))
    (violation,) = promotion_violations(lake, other_seeds)
    assert violation.startswith(stale)
    assert promotion_violations(lake, GATED) == []
    put_corpus(lake, GATED, "corpus after an opt-out")
    (violation,) = promotion_violations(lake, GATED)
    assert violation.startswith(stale)


def test_a_control_that_is_not_undecided_holds_back(lake_url: str) -> None:
    lake = Lake(url=lake_url)
    compare(lake, GATED, {"selected_x1": NATS["better"], "random_x1_again": 70.0})
    assert promotion_violations(lake, GATED) == [
        f"{CLAIM} decides nothing: the control random_x1_again against random_x1, two draws of one "
        "arm, is worse"
    ]


def test_a_rebuilt_store_keeps_the_aliases_that_gates_held_where_they_were(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, tracking = Lake(url=lake_url), Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    other = replace(GATED, name="OTHER")
    compare(lake, GATED, {"selected_x1": NATS["better"]})
    compare(lake, other, {"selected_x1": NATS["better"]})
    first = materialize(lake, tracking, instance, GATED)
    materialize(lake, tracking, instance, other)
    compare(lake, CHANGED, {"selected_x1": NATS["worse"]})
    materialize(lake, tracking, instance, CHANGED)
    second = materialize(lake, tracking, instance, replace(CHANGED, name="OTHER"))
    assert first != second
    assert promoted(tracking.uri) == promoted(tracking.uri, "OTHER") == first

    mlflow_rebuild.rebuild(lake_url, tracking, CHANGED)
    # Another spelling of the address: MLflow keeps a process's connections to the old file.
    rebuilt = f"sqlite:///{tmp_path}/./mlflow.db"
    assert promoted(rebuilt) == promoted(rebuilt, "OTHER") == first

    compare(lake, CHANGED, {"selected_x1": NATS["better"]})
    mlflow_rebuild.rebuild(lake_url, Tracking(uri=f"sqlite:///{tmp_path}/./mlflow.db"), CHANGED)
    rebuilt = f"sqlite:///{tmp_path}/././mlflow.db"
    assert promoted(rebuilt) == second
    assert promoted(rebuilt, "OTHER") == first


def test_without_an_old_store_only_the_models_of_the_chosen_recipe_are_promoted(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake(url=lake_url)
    folder = materialize(lake, Tracking(uri=""), instance, SMOKE)
    materialize(lake, Tracking(uri=""), instance, replace(GATED, name="OTHER"))
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow_rebuild.rebuild(lake_url, Tracking(uri=store), SMOKE)
    assert promoted(store) == folder
    assert promoted(store, "OTHER") is None
    assert "those of OTHER are not set; `make promote`" in capsys.readouterr().err


def test_what_waited_for_mlflow_is_promoted_by_its_gate_of_today_alone(
    lake_url: str,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lake, spool = Lake(url=lake_url), str(tmp_path / "spool")
    compare(lake, GATED, {"selected_x1": NATS["better"]})
    down = Tracking(uri=UNREACHABLE, spool=spool)
    materialize(lake, down, instance, GATED)
    with pytest.raises(SystemExit, match="gated_checkpoint is not promoted: MLflow at http://127"):
        promote(lake, down, GATED)
    assert "promoted" not in capsys.readouterr().out
    assert down.waiting().num_records == 2

    compare(lake, GATED, {"selected_x1": NATS["worse"]})
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = Tracking(uri=store, spool=spool)
    assert tracking.write_waiting(logging.getLogger("replay")).num_records == 0
    assert promoted(store) is None
    assert "gated_checkpoint of recipe SMOKE waited for MLflow and is not promoted" in caplog.text
    with pytest.raises(SystemExit, match=f"No model of recipe SMOKE is promoted: {CLAIM} is worse"):
        promote(lake, tracking, GATED)
    assert promoted(store) is None

    compare(lake, GATED, {"selected_x1": NATS["better"]})
    promote(lake, tracking, GATED)
    assert capsys.readouterr().out == "gated_checkpoint: promoted\n"
    assert promoted(store) == current_artifact(lake, GATED, "gated_checkpoint").folder


def test_a_recipe_without_gates_is_promoted_from_what_waited(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, spool = Lake(url=lake_url), str(tmp_path / "spool")
    folder = materialize(lake, Tracking(uri=UNREACHABLE, spool=spool), instance, SMOKE)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    Tracking(uri=store, spool=spool).write_waiting()
    assert promoted(store) == folder


@pytest.mark.parametrize("outcome", ["better", "undecided", "worse"])
def test_the_check_fails_for_a_worse_comparison_and_stops_nothing(
    lake_url: str, outcome: str
) -> None:
    lake = Lake(url=lake_url)
    result = compare(lake, GATED, {"selected_x1": NATS[outcome]})
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed is (outcome != "worse")
    assert evaluation.description == (f"{CLAIM} is worse" if outcome == "worse" else None)


def test_the_check_asks_for_the_comparisons_of_its_own_experiment(lake_url: str) -> None:
    lake = Lake(url=lake_url)
    (evaluation,) = compare(lake, GATED, {}, "other").get_asset_check_evaluations()
    assert evaluation.passed
    assert promotion_violations(lake, GATED) == [
        f"{CLAIM} is not decided: `make experiment NAME=paper_claims`"
    ]


def test_a_gate_names_a_comparison_of_the_recipe() -> None:
    gate = PromotionGate(experiment="paper_claims", arm="random_x1", baseline="selected_x1")
    with pytest.raises(ValueError, match="paper_claims: random_x1 against selected_x1, and the"):
        replace(SMOKE, promotion_gates=(gate,))
