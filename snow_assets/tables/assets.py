"""The dbt project as assets: all tables are built, tested and published together."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from snow_assets.defs.materialize import all_current_artifacts, tag_run
from snow_assets.home import CHECKOUT, home
from snow_assets.recipe import Recipe
from snow_assets.tables import graph, sources
from snow_resources.lake import Lake
from snow_resources.publishing import (
    PublishingError,
    Warehouse,
    prepared_manifest,
    project_digest,
)
from snow_resources.tracking import Tracking

PROJECT = str(CHECKOUT / "dbt_like_sql")

# The graph needs dbt's manifest when it is loaded; it is parsed once per content of the project.
_manifest = prepared_manifest(PROJECT, home() / "dbt")


@dg.multi_asset(
    name="tables",
    specs=graph.asset_specs(_manifest),
    check_specs=graph.check_specs(_manifest),
)
def tables(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Build every dbt model from what the recipe's pointers name, test them, publish them."""
    from snow_assets.tables.evidence import evidence

    started = time.time()
    current = [artifact.folder for artifact in all_current_artifacts(lake, recipe)]
    project = project_digest(warehouse.project)
    lake_tables = sources.lake_tables(lake.url, current, recipe=recipe.name, project=project)
    nodes = warehouse.published(lake_tables.digest)
    reused = nodes is not None
    try:
        nodes = nodes or warehouse.publish(
            lake_tables.relations,
            {**lake_tables.manifests, "evidence": evidence(lake.url, lake_tables.artifacts)},
            digest=lake_tables.digest,
        )
    except PublishingError as error:
        yield from graph.check_results(_manifest, error.nodes)
        raise dg.Failure(str(error)) from error
    version = warehouse.share(lake.url, recipe=recipe.name, digest=lake_tables.digest)
    if version is not None:
        context.log.info(f"{version.name} is the current version of the tables in {lake.url}")
    link = graph.record_publication(
        context,
        tracking,
        lake_tables,
        nodes,
        warehouse=warehouse.path,
        recipe=recipe.name,
        project=project,
        started=started,
    )
    yield from graph.materializations(
        _manifest,
        warehouse.path,
        digest=lake_tables.digest,
        reused=reused,
        metadata=link.metadata,
        recipe=recipe.name,
    )
    tag_run(context, recipe)
    yield from graph.check_results(_manifest, nodes)
