"""A code location of curation's stages, which run as Jobs of two Ray nodes, as SITE names it."""

import json
import os
from dataclasses import replace
from typing import Any

import dagster as dg

from snow_assets.defs.dedup import candidate_pairs, signatures
from snow_assets.defs.documents import documents
from snow_assets.recipe import SMOKE, CurationExecution, Recipe
from snow_resources.kubernetes_jobs import KubernetesJobs
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.stage_assets import assets_of

SOURCE = "standard_library"
IN_PROCESS = CurationExecution(nodes=0, cpus=1, memory_gib=1)
TWO_NODES = CurationExecution(nodes=2, cpus=1, memory_gib=2)


def recipe(execution: CurationExecution) -> Recipe:
    """SMOKE with one source; that Python files are parsed makes their shards take a while."""
    curation = replace(
        SMOKE.curation, filters=replace(SMOKE.curation.filters, drop_unparsable=True)
    )
    return replace(
        SMOKE,
        corpus=replace(SMOKE.corpus, sources=(replace(SMOKE.corpus.sources[0], name=SOURCE),)),
        curation=curation,
        operation=replace(SMOKE.operation, curation=execution),
        experiments=(),
    )


def resources(execution: CurationExecution, lake: str) -> dict[str, Any]:
    return {"recipe": recipe(execution), "lake": Lake(url=lake), "tracking": Tracking(uri="")}


def assets(execution: CurationExecution) -> list[dg.AssetsDefinition]:
    return assets_of(documents, signatures, candidate_pairs, recipe=recipe(execution))


if "SITE" in os.environ:
    _site = json.loads(os.environ["SITE"])
    defs = dg.Definitions(
        assets=assets(TWO_NODES),
        resources={
            **resources(TWO_NODES, _site["lake"]),
            "jobs": KubernetesJobs(**_site["config"]),
        },
        executor=dg.in_process_executor,
    )
