"""dbt models as Dagster assets: specs and checks from dbt's manifest, events from its results.

Without dagster-dbt: see docs/decisions/0007-dagster-dbt.md.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from snow_assets.defs.graph import STAGES
from snow_assets.stages import OWNERS
from snow_assets.tables.sources import LakeTables, dbt_sources
from snow_resources.publishing import Node, quoted
from snow_resources.tracking import (
    RunLink,
    TrackedDataset,
    Tracking,
    git_commit,
    materialization_record,
)
from snow_resources.warehouse import query

GROUP = "tables"
_DBT_SOURCES = dbt_sources(STAGES)
_BUILD_DATABASE = "build"  # of dbt_project.yml: staging, intermediate and private models
_MAX_TABLE_ROWS = 20
_MAX_TABLE_COLUMNS = 12
_MAX_CELL_CHARS = 80


def _is_published(manifest: Mapping[str, Any], unique_id: str) -> bool:
    """Whether this is a model of the warehouse: the build keeps all others in its own database."""
    return (
        unique_id.startswith("model.")
        and manifest["nodes"][unique_id]["database"] != _BUILD_DATABASE
    )


def _published_models(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The published models by unique_id, in topological order."""
    parents = {name: sorted(nodes) for name, nodes in sorted(manifest["parent_map"].items())}
    return {
        unique_id: manifest["nodes"][unique_id]
        for unique_id in TopologicalSorter(parents).static_order()
        if _is_published(manifest, unique_id)
    }


def _upstream_keys(manifest: Mapping[str, Any], unique_id: str) -> set[dg.AssetKey]:
    """The assets upstream of a model, also through models that are not published."""
    keys: set[dg.AssetKey] = set()
    for parent in manifest["nodes"][unique_id]["depends_on"]["nodes"]:
        if source := manifest["sources"].get(parent):
            # Manifests and labels are sources that no stage writes.
            _, assets = _DBT_SOURCES.get((source["source_name"], source["name"]), (None, ()))
            keys.update(dg.AssetKey(asset) for asset in assets)
        elif _is_published(manifest, parent):
            keys.add(dg.AssetKey(manifest["nodes"][parent]["name"]))
        else:
            keys |= _upstream_keys(manifest, parent)
    return keys


def asset_specs(manifest: Mapping[str, Any]) -> list[dg.AssetSpec]:
    """One asset per published model, with dbt's descriptions and columns."""
    return [
        dg.AssetSpec(
            key=node["name"],
            deps=sorted(_upstream_keys(manifest, unique_id)),
            description=node["description"],
            group_name=GROUP,
            owners=[OWNERS[GROUP]],
            kinds={"dbt", "duckdb"},
            code_version=node["checksum"]["checksum"][:16],
            metadata={
                "dagster/column_schema": dg.TableSchema(
                    columns=[
                        dg.TableColumn(
                            name=column["name"],
                            type=column["data_type"],
                            description=column["description"],
                        )
                        for column in node["columns"].values()
                    ]
                )
            },
        )
        for unique_id, node in _published_models(manifest).items()
    ]


def _checked_model(manifest: Mapping[str, Any], test: Mapping[str, Any]) -> str | None:
    """The published model that a test checks; for a singular test, the first by name."""
    candidates = [test.get("attached_node") or "", *sorted(test["depends_on"]["nodes"])]
    published = (name for name in candidates if _is_published(manifest, name))
    return next((manifest["nodes"][name]["name"] for name in published), None)


def check_specs(manifest: Mapping[str, Any]) -> list[dg.AssetCheckSpec]:
    """One check per dbt test of a published model."""
    return [
        dg.AssetCheckSpec(name=node["name"], asset=model, description=node["description"] or None)
        for _, node in sorted(manifest["nodes"].items())
        if node["resource_type"] == "test" and (model := _checked_model(manifest, node)) is not None
    ]


def check_results(
    manifest: Mapping[str, Any], nodes: Sequence[Node]
) -> Iterator[dg.AssetCheckResult]:
    """Yield dbt's test results as asset check results."""
    for node in nodes:
        test = manifest["nodes"][node.unique_id]
        if test["resource_type"] != "test":
            continue
        model = _checked_model(manifest, test)
        if model is None:
            continue
        is_warning = node.status == "warn"
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(model),
            check_name=test["name"],
            passed=node.status == "pass",
            severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
            description=node.message or None,
            metadata={"status": node.status, "failures": node.failures},
        )


def materializations(
    manifest: Mapping[str, Any],
    warehouse: str,
    *,
    digest: str,
    reused: bool,
    metadata: Mapping[str, Any],
    recipe: str,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield a materialization per published table with its row count and, if small, its rows."""
    for node in _published_models(manifest).values():
        name = node["name"]
        [(num_rows,)] = query(warehouse, f"select count(*) from {quoted(name)}").rows
        model_metadata: dict[str, Any] = {
            "dagster/row_count": num_rows,
            "reused": reused,
            "recipe": recipe,
            **metadata,
        }
        if 0 < num_rows <= _MAX_TABLE_ROWS:
            model_metadata["rows"] = _rows(warehouse, name)
        yield dg.MaterializeResult(
            asset_key=name,
            data_version=dg.DataVersion(digest),
            metadata=model_metadata,
            tags={"snow/recipe": recipe},
        )


def record_publication(
    context: dg.AssetExecutionContext,
    tracking: Tracking,
    tables: LakeTables,
    nodes: Sequence[Node],
    *,
    warehouse: str,
    recipe: str,
    project: str,
    started: float,
) -> RunLink:
    """Record a publication in MLflow: current artifacts as inputs, the warehouse as output."""
    record = materialization_record(
        asset=GROUP,
        partition="all",
        recipe=recipe,
        code_version=project[:16],
        config={},
        inputs=[
            TrackedDataset(
                name=f"{artifact.manifest.asset}/{artifact.manifest.partition}",
                url=artifact.folder,
                digest=artifact.manifest.digest,
            )
            for artifact in tables.artifacts
            if artifact.is_current and artifact.recipe == recipe
        ],
        output=TrackedDataset(name=f"{GROUP}/all", url=warehouse, digest=tables.digest),
        stats={
            "models": sum(node.unique_id.startswith("model.") for node in nodes),
            "tests": sum(node.unique_id.startswith("test.") for node in nodes),
            "warnings": sum(node.status == "warn" for node in nodes),
            "seconds": sum(node.seconds for node in nodes),
        },
        started=started,
        ended=time.time(),
        dagster_run_id=context.op_execution_context.run_id,
        git_commit=git_commit(),
    )
    return tracking.record(context.log, record)


def _rows(warehouse: str, name: str) -> dg.TableMetadataValue:
    result = query(warehouse, f"select * from {quoted(name)} order by all")
    columns = result.columns[:_MAX_TABLE_COLUMNS]
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({column: _cell(row[index]) for index, column in enumerate(columns)})
            for row in result.rows
        ]
    )


def _cell(value: Any) -> str | int | float | bool | None:
    return value[:_MAX_CELL_CHARS] if isinstance(value, str) else value
