"""Reading sources: the sensor that notices a new source or a changed opt-out list, and its jobs."""

import hashlib
from collections.abc import Sequence

import dagster as dg

from snow_assets import shards
from snow_assets.corpus import opt_outs as opted_out
from snow_assets.corpus.assets import opt_outs
from snow_assets.materialize import Upstream, upstreams
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake

opting_out = dg.define_asset_job(
    "opting_out",
    selection=dg.AssetSelection.assets(opt_outs),
    description="Take the opt-out list over, and tell where its repositories had been.",
)

reading = dg.define_asset_job(
    "reading",
    selection=dg.AssetSelection.assets("raw_code_corpus", "documents", "contamination"),
    description="Read a source, without the repositories that opted out.",
)


@dg.sensor(
    jobs=[opting_out, reading],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def reading_sensor(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.SensorResult:
    """First a changed opt-out list; then each source that was not read under it, new ones too."""
    names = opted_out.read_list(recipe.corpus.opt_out_list)
    current = upstreams(lake, recipe, "opt_outs")
    if not current or opted_out.read(current[0].folder) != frozenset(names):
        key = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        before = current[0].generation if current else "none"
        request = dg.RunRequest(run_key=f"opt_outs:{before}:{key}", job_name=opting_out.name)
        return dg.SensorResult(run_requests=[request])
    (listed,) = current
    stale = _stale(upstreams(lake, recipe, "raw_code_corpus"), recipe, listed)
    if not stale:
        return dg.SensorResult(skip_reason="every source was read under the present opt-out list")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{name}:{listed.digest[:16]}", job_name=reading.name, partition_key=name
            )
            for name in stale
        ],
    )


def _stale(made: Sequence[Upstream], recipe: Recipe, listed: Upstream) -> list[str]:
    under = {
        one.partition: [given.digest for given in shards.manifest(one.folder).inputs]
        for one in made
    }
    names = (source.name for source in recipe.corpus.sources)
    return [name for name in names if listed.digest not in under.get(name, [])]
