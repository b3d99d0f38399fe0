"""Promotion of a recipe's models in MLflow: held back by comparisons that the recipe names.

`Recipe.promotion_gates` names comparisons of its experiments. The recipe's alias stays at the
models that it names until each comparison is made for the recipe's present config and corpus, is
not `worse`, and its experiment's control is `undecided`.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from snow_assets.defs.experiments import experiment_arms, experiment_comparisons
from snow_assets.defs.materialize import current_artifact
from snow_assets.experiments.arms import arm_runs
from snow_assets.recipe import Recipe
from snow_assets.recipe.experiments import PromotionGate
from snow_assets.stages import Artifact, StageInputs
from snow_assets.storage import shards
from snow_resources.lake import Lake


def promotion_violations(lake: Lake, recipe: Recipe) -> list[str]:
    """Why the recipe's models must not be promoted, a line for each gate that holds them back."""
    return gate_violations(lake, recipe, recipe.promotion_gates)


def gate_violations(lake: Lake, recipe: Recipe, gates: Sequence[PromotionGate]) -> list[str]:
    """The same of some of the recipe's gates."""
    by_experiment = attrgetter("experiment")
    return [
        violation
        for experiment, gates_of_it in groupby(sorted(gates, key=by_experiment), by_experiment)
        for violation in _violations(lake, recipe, experiment, list(gates_of_it))
    ]


def _violations(
    lake: Lake, recipe: Recipe, experiment: str, gates: Sequence[PromotionGate]
) -> list[str]:
    """Of the gates of one experiment, whose arms are looked up once."""
    reason = "is not decided"
    try:
        comparisons = _present_comparisons(lake, recipe, experiment)
    except FileNotFoundError:
        comparisons = None
    else:
        reason = "was decided for another config or corpus than the recipe has now"
    if comparisons is None:
        return [f"{_name(gate)} {reason}: `make experiment NAME={experiment}`" for gate in gates]
    rows = shards.read(comparisons.folder, "comparisons").to_pylist()
    return [violation for gate in gates if (violation := _violation(rows, gate))]


def _name(gate: PromotionGate) -> str:
    return f"{gate.experiment}: {gate.arm} against {gate.baseline}"


def _violation(rows: Sequence[Mapping[str, Any]], gate: PromotionGate) -> str | None:
    """What an experiment's comparisons hold against a gate."""
    control = next(row for row in rows if row["is_control"])
    if control["outcome"] != "undecided":
        return (
            f"{_name(gate)} decides nothing: the control {control['arm']} against "
            f"{control['baseline']}, two draws of one arm, is {control['outcome']}"
        )
    outcomes = [
        row["outcome"]
        for row in rows
        if (row["arm"], row["baseline"]) == (gate.arm, gate.baseline) and not row["is_control"]
    ]
    return f"{_name(gate)} is worse" if "worse" in outcomes else None


def _present_comparisons(lake: Lake, recipe: Recipe, experiment: str) -> Artifact | None:
    """The comparisons of an experiment; None if they or their arms are not what the recipe would
    make now, and FileNotFoundError if they were never made."""
    resolve = cache(partial(current_artifact, lake, recipe))  # arms read the same inputs
    comparisons = resolve(experiment_comparisons.name, experiment)
    partitions = [run.partition for run in arm_runs(recipe) if run.experiment.name == experiment]
    stages = [
        *((experiment_arms, partition) for partition in partitions),
        (experiment_comparisons, experiment),
    ]
    is_present = all(
        _is_present(
            StageInputs(stage=stage, partition=partition, recipe=recipe, lake=lake, resolve=resolve)
        )
        for stage, partition in stages
    )
    return comparisons if is_present else None


def _is_present(inputs: StageInputs) -> bool:
    """Whether the artifact that the pointer names is the one that the recipe would make now."""
    current = inputs.resolve(inputs.stage.name, inputs.partition)
    return inputs.artifact_spec().fingerprint == current.fingerprint
