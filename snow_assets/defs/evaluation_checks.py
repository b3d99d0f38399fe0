"""Checks of evaluation: canonical solutions pass, intervals hold their values, all is measured."""

from typing import Any

import dagster as dg

from snow_assets.defs.evaluation import benchmark_results
from snow_assets.defs.materialize import check_result, current_artifacts
from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_resources.lake import Lake


def _rows(lake: Lake, recipe: Recipe) -> list[dict[str, Any]]:
    artifacts = current_artifacts(lake, recipe, benchmark_results.name)
    return [
        row for artifact in artifacts for row in shards.read(artifact.folder, "results").to_pylist()
    ]


@dg.asset_check(asset=benchmark_results.name)
def canonical_solutions_passed(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """The benchmarks' own solutions pass in the sandbox. A warning names those that fail, whose
    problems are excluded, or says that there is no sandbox."""
    from snow_assets.evaluation import results

    artifacts = current_artifacts(lake, recipe, benchmark_results.name)
    stats = [shards.manifest(artifact.folder).stats for artifact in artifacts]
    return check_result(results.validate_canonical_solutions(stats), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=benchmark_results.name, blocking=True)
def intervals_hold_their_values(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Every value lies in its own 95 % interval, and every share in [0, 1]."""
    from snow_assets.evaluation import results

    return check_result(results.validate_intervals(_rows(lake, recipe)))


@dg.asset_check(asset=benchmark_results.name, blocking=True)
def results_are_complete(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Every measure of every language, benchmark and half is there, or says why it is not."""
    from snow_assets.evaluation import results

    return check_result(
        results.validate_completeness(
            _rows(lake, recipe),
            languages=recipe.curation.languages,
            recipe=recipe.evaluation,
        )
    )
