"""Re-scoring: the job, its nightly schedule and its sensor; each scores only what has no score."""

from collections.abc import Iterator, Mapping

import dagster as dg

from snow_assets.estimates import size_of, together
from snow_assets.materialize import UNPARTITIONED, upstreams
from snow_assets.past import Past
from snow_assets.quality.assets import high_quality_subset, quality_scores
from snow_assets.quality.staleness import NEW_ANNOTATOR, NEW_ROUND, Current, Stale, stale_languages
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake

rescoring = dg.define_asset_job(
    "rescoring",
    selection=dg.AssetSelection.assets(quality_scores, high_quality_subset),
    description="Score what has no score under the newest annotator, and select again.",
)


@dg.schedule(
    job=rescoring,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def nightly_rescoring(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Every night the languages that are not up to date, failed ones of yesterday included."""
    yield from _requests(lake, recipe)


@dg.sensor(
    job=rescoring,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def rescoring_sensor(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Once for each clean corpus or annotator whose scores are missing."""
    yield from _requests(lake, recipe)


def _requests(lake: Lake, recipe: Recipe) -> Iterator[dg.RunRequest | dg.SkipReason]:
    clean = _folders(lake, recipe, "clean_corpus")
    missing = [name for name in recipe.curation.languages if name not in clean]
    stale = [] if missing else _stale(clean, lake, recipe)
    if missing:
        # The budget is shared among all languages.
        yield dg.SkipReason(f"clean_corpus was never materialized for {', '.join(missing)}")
    elif not stale:
        yield dg.SkipReason("nothing is new since the last scores, or no annotator passed its gate")
    past = Past(lake=lake, recipe=recipe)
    for one in stale:
        tags = {"snow/rescoring": one.reason}
        if one.reason in (NEW_ANNOTATOR, NEW_ROUND):
            tags["snow/estimate"] = _estimate(past, one.language)
        yield dg.RunRequest(run_key=one.key, partition_key=one.language, tags=tags)


def _estimate(past: Past, language: str) -> str:
    """What scoring all of a language takes, before it starts; `make plan` tells more."""
    given = (
        past.current("clean_corpus", language),
        past.current("quality_annotator", UNPARTITIONED),
    )
    reads = together(size_of(manifest) for manifest in given if manifest)
    cost = past.cost("quality_scores", reads=reads, makes=reads)
    return f"{cost.seconds:.0f} s, {cost.price:.2f} {past.recipe.operation.currency}"


def _stale(clean: Mapping[str, str], lake: Lake, recipe: Recipe) -> list[Stale]:
    annotators = upstreams(lake, recipe, "quality_annotator")
    return stale_languages(
        Current(
            clean={name: clean[name] for name in recipe.curation.languages},
            annotator=annotators[0].folder if annotators else None,
            scores=_folders(lake, recipe, "quality_scores"),
            subsets=_folders(lake, recipe, "high_quality_subset"),
            scoring_round=recipe.operation.scoring_round,
        )
    )


def _folders(lake: Lake, recipe: Recipe, asset: str) -> dict[str, str]:
    return {made.partition: made.folder for made in upstreams(lake, recipe, asset)}
