"""Checks of experiments: what the recipe's promotion needs."""

import dagster as dg

from snow_assets.defs.experiments import experiment_comparisons
from snow_assets.defs.materialize import check_result
from snow_assets.defs.promotion import promotion_violations
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake


@dg.asset_check(asset=experiment_comparisons.name, blocking=True)
def promotion_gates_are_not_worse(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No comparison that the recipe's promotion needs is worse, or undone."""
    return check_result(promotion_violations(lake, recipe))
