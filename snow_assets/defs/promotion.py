"""Promotion of a recipe's models in MLflow: held back by comparisons that the recipe names.

`Recipe.promotion_gates` names comparisons of its experiments. The recipe's alias stays at the
models that it names until each comparison is made for the recipe's present config and corpus, is
not `worse`, and its experiment's control is `undecided`.
"""

from collections.abc import Sequence
from functools import partial

from snow_assets.defs.experiments import experiment_arms, experiment_comparisons
from snow_assets.defs.materialize import current_artifact
from snow_assets.experiments.arms import arm_runs
from snow_assets.recipe import Recipe
from snow_assets.recipe.experiments import PromotionGate
from snow_assets.stages import Artifact, Stage, StageInputs
from snow_assets.storage import shards
from snow_resources.lake import Lake


def promotion_violations(lake: Lake, recipe: Recipe) -> list[str]:
    """Why the recipe's models must not be promoted, a line for each gate that holds them back."""
    return gate_violations(lake, recipe, recipe.promotion_gates)


def gate_violations(lake: Lake, recipe: Recipe, gates: Sequence[PromotionGate]) -> list[str]:
    """The same of some of the recipe's gates."""
    return [violation for gate in gates if (violation := _violation(lake, recipe, gate))]


def _violation(lake: Lake, recipe: Recipe, gate: PromotionGate) -> str | None:
    name = f"{gate.experiment}: {gate.arm} against {gate.baseline}"
    remedy = f"`make experiment NAME={gate.experiment}`"
    try:
        comparisons = _present_comparisons(lake, recipe, gate.experiment)
    except FileNotFoundError:
        return f"{name} is not decided: {remedy}"
    if comparisons is None:
        return f"{name} was decided for another config or corpus than the recipe has now: {remedy}"
    rows = shards.read(comparisons.folder, "comparisons").to_pylist()
    control = next(row for row in rows if row["is_control"])
    if control["outcome"] != "undecided":
        return (
            f"{name} decides nothing: the control {control['arm']} against {control['baseline']}, "
            f"two draws of one arm, is {control['outcome']}"
        )
    outcomes = [
        row["outcome"]
        for row in rows
        if (row["arm"], row["baseline"]) == (gate.arm, gate.baseline) and not row["is_control"]
    ]
    return f"{name} is worse" if "worse" in outcomes else None


def _present_comparisons(lake: Lake, recipe: Recipe, experiment: str) -> Artifact | None:
    """The comparisons of an experiment; None if they or their arms are not what the recipe would
    make now, and FileNotFoundError if they were never made."""
    comparisons = current_artifact(lake, recipe, experiment_comparisons.name, experiment)
    partitions = [run.partition for run in arm_runs(recipe) if run.experiment.name == experiment]
    is_present = all(
        _is_present(lake, recipe, experiment_arms, partition) for partition in partitions
    ) and _is_present(lake, recipe, experiment_comparisons, experiment)
    return comparisons if is_present else None


def _is_present(lake: Lake, recipe: Recipe, stage: Stage, partition: str) -> bool:
    """Whether the artifact that the pointer names is the one that the recipe would make now."""
    resolve = partial(current_artifact, lake, recipe)
    inputs = StageInputs(
        stage=stage, partition=partition, recipe=recipe, lake=lake, resolve=resolve
    )
    return inputs.artifact_spec().fingerprint == resolve(stage.name, partition).fingerprint
