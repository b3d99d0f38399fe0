"""Promote the recipe's models in MLflow: `make promote`.

The alias of the recipe moves to the models that its pointers name, unless a gate of the annotator
or a comparison of `Recipe.promotion_gates` holds them back.
"""

import logging
import sys

from snow_assets import definitions
from snow_assets.cli.mlflow_rebuild import current_model
from snow_assets.defs.promotion import promotion_violations
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.storage.lake_folders import pointers
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking


def promote(lake: Lake, tracking: Tracking, recipe: Recipe) -> None:
    """Move the alias, and print what became of each model; SystemExit names what holds all back."""
    if not tracking.uri:
        sys.exit("No model is promoted: no MLflow is configured")
    if violations := promotion_violations(lake, recipe):
        sys.exit(f"No model of recipe {recipe.name} is promoted: {'; '.join(violations)}")
    log = logging.getLogger("promote")
    for pointer in pointers(lake.url, recipe.name):
        record = current_model(pointer, recipe)
        if record is None or record.model is None:
            continue
        link = tracking.record(log, record)
        if not link.ids:
            sys.exit(
                f"{record.model.name} is not promoted: MLflow at {tracking.uri} did not accept its "
                f"record ({link.metadata['mlflow']}). Run `make promote` again once it does."
            )
        outcome = "promoted" if record.is_promoted else "not promoted: its gates failed"
        sys.stdout.write(f"{record.model.name}: {outcome}\n")


def main() -> None:
    recipe = chosen_recipe()
    resources = definitions.resources(recipe)
    promote(resources["lake"], resources["tracking"], recipe)


if __name__ == "__main__":
    main()
