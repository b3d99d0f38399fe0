"""Checks of synthesis: no leak, every completion accounted for."""

import dagster as dg

from snow_assets.defs.corpus import benchmark_problems
from snow_assets.defs.materialize import check_result, current_artifact
from snow_assets.defs.synthesis import synthetic_completions, synthetic_set
from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_resources.lake import Lake


@dg.asset_check(asset=synthetic_set.name, blocking=True)
def no_synthetic_file_leaks(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """No accepted file holds a benchmark problem, identifiers renamed or not."""
    from snow_assets.synthesis import asset_metadata

    problems = shards.read(
        current_artifact(lake, recipe, benchmark_problems.name).folder, "problems"
    )
    artifact = current_artifact(lake, recipe, synthetic_set.name)
    window = recipe.curation.contamination.gate_window_tokens
    return check_result(
        asset_metadata.validate_contamination(artifact.folder, problems, window_tokens=window)
    )


@dg.asset_check(asset=synthetic_set.name, blocking=True)
def every_completion_is_accounted_for(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Accepted and refused files are exactly those that were asked for."""
    from snow_assets.synthesis import asset_metadata

    artifact = current_artifact(lake, recipe, synthetic_set.name)
    completions = shards.input_folders(artifact.folder, synthetic_completions.name)
    return check_result(
        [
            fault
            for folder in completions
            for fault in asset_metadata.validate_row_accounting(folder, artifact.folder)
        ]
    )
