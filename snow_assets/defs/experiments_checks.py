"""Checks of experiments: what the recipe's promotion needs."""

import dagster as dg

from snow_assets.defs.experiments import experiment_comparisons
from snow_assets.defs.materialize import check_result
from snow_assets.defs.promotion import gate_violations
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake


# Not blocking: the result is published, whatever it is, and the promotion asks itself.
@dg.asset_check(asset=experiment_comparisons.name)
def promotion_gates_are_not_worse(
    context: dg.AssetCheckExecutionContext, lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No comparison that the recipe's promotion needs is worse, or undone: of this experiment, and
    of all in a run without a partition."""
    experiment = context.partition_key if context.has_partition_key else None
    gates = [gate for gate in recipe.promotion_gates if experiment in (None, gate.experiment)]
    return check_result(gate_violations(lake, recipe, gates))
