"""Dagster's assets of single stages, to materialize in a test."""

import dagster as dg

from snow_assets.defs.dagster_assets import stage_assets
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.stages import Stage


def assets_of(*stages: Stage, recipe: Recipe = SMOKE) -> list[dg.AssetsDefinition]:
    """The stages' assets, with the recipe's partitions."""
    return stage_assets(stages, recipe)


def asset_of(stage: Stage, recipe: Recipe = SMOKE) -> dg.AssetsDefinition:
    (asset,) = assets_of(stage, recipe=recipe)
    return asset
