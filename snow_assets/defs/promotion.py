"""Promotion of a recipe's models in MLflow: held back by comparisons that the recipe names.

`Recipe.promotion_gates` names comparisons of its experiments. While one of them was not made, or
says `worse`, the recipe's alias stays at the models that it names.
"""

from dataclasses import replace

from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_assets.storage.pointers import read_pointer
from snow_resources.lake import Lake
from snow_resources.tracking import Record

COMPARISONS = "experiment_comparisons"
"""The stage, which is stated over this module."""


def promotion_violations(lake: Lake, recipe: Recipe) -> list[str]:
    """Why the recipe's models must not be promoted, a line for each comparison."""
    violations = []
    for gate in recipe.promotion_gates:
        name = f"{gate.experiment}: {gate.arm} against {gate.baseline}"
        pointer = read_pointer(lake.pointer(recipe.name, COMPARISONS, gate.experiment))
        if pointer is None:
            violations.append(f"{name} is not decided: `make experiment NAME={gate.experiment}`")
            continue
        folder = lake.artifact(COMPARISONS, gate.experiment, pointer["fingerprint"])
        rows = shards.read(folder, "comparisons").to_pylist()
        outcomes = [
            row["outcome"]
            for row in rows
            if (row["arm"], row["baseline"]) == (gate.arm, gate.baseline) and not row["is_control"]
        ]
        if not outcomes:
            violations.append(f"{name} is not decided: `make experiment NAME={gate.experiment}`")
        elif "worse" in outcomes:
            violations.append(f"{name} is worse")
    return violations


def hold_back(record: Record, lake: Lake, recipe: Recipe) -> tuple[Record, list[str]]:
    """The record, of a model that must not be promoted without its promotion; and the reasons."""
    if record.model is None or not record.model.is_promoted or record.recipe != recipe.name:
        return record, []
    violations = promotion_violations(lake, recipe)
    if not violations:
        return record, []
    return replace(record, model=replace(record.model, is_promoted=False)), violations
