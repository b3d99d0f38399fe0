"""Dagster's assets, made from the stage specifications."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import dagster as dg
import pyarrow as pa

from snow_assets.defs.materialize import materialize
from snow_assets.defs.promotion import promotion_violations
from snow_assets.recipe import Recipe
from snow_assets.stages import Partitions, Stage, partition_names
from snow_resources.k8s_config import ASSET_TAG

_SHARED_RESOURCES = frozenset({"lake", "tracking", "recipe"})


class PartitionsDefinitions:
    """Dagster's partitions of a recipe; equal ones are one object, so that they map one to one."""

    def __init__(self, recipe: Recipe) -> None:
        self._definitions: dict[Partitions, dg.StaticPartitionsDefinition] = {
            kind: dg.StaticPartitionsDefinition(list(partition_names(kind, recipe)))
            for kind in Partitions
            if kind is not Partitions.NONE
        }

    def of(self, stage: Stage) -> dg.StaticPartitionsDefinition | None:
        return self._definitions.get(stage.partitions)


def stage_assets(
    stages: Collection[Stage],
    recipe: Recipe,
    *,
    in_cluster: bool = False,
    k8s_config: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    mlflow_url: str = "",
) -> list[dg.AssetsDefinition]:
    """An asset per stage. `in_cluster`: what runs workers is shown to run on Kubernetes.

    `k8s_config`: asset -> `dagster-k8s/config` of its work Jobs, a tag of the asset's op.
    `mlflow_url` is where MLflow's pages are now: a materialization keeps the link of its own run.
    Raises ValueError for the configuration of an asset that runs no Jobs.
    """
    workers = {stage.name for stage in stages if "jobs" in stage.required_resources(recipe)}
    if unknown := sorted(k8s_config.keys() - workers):
        raise ValueError(
            f"SNOW_JOBS configures Jobs of {unknown[0]!r}, which has none: name one of "
            f"{sorted(workers)}"
        )
    partitions = PartitionsDefinitions(recipe)
    links = {"mlflow_pages": dg.MetadataValue.url(mlflow_url)} if mlflow_url else {}
    return [
        _asset(
            stage,
            stage.required_resources(recipe),
            partitions.of(stage),
            _deps(stage, recipe),
            links,
            is_kubernetes_job=in_cluster and stage.name in workers,
            k8s_config=k8s_config.get(stage.name),
        )
        for stage in stages
    ]


def _asset(
    stage: Stage,
    resources: frozenset[str],
    partitions: dg.StaticPartitionsDefinition | None,
    deps: Sequence[dg.AssetDep],
    links: Mapping[str, dg.MetadataValue[str]],
    *,
    is_kubernetes_job: bool,
    k8s_config: Mapping[str, object] | None,
) -> dg.AssetsDefinition:
    @dg.asset(
        name=stage.name,
        description=stage.description,
        group_name=stage.group,
        owners=[stage.owner],
        kinds={*stage.kinds, *(["kubernetes"] if is_kubernetes_job else [])},
        code_version=stage.code_version,
        op_tags={ASSET_TAG: k8s_config} if k8s_config else None,
        partitions_def=partitions,
        deps=deps,
        required_resource_keys={*_SHARED_RESOURCES, *resources},
        metadata={**_column_schema(stage), **links},
    )
    def materialize_stage(context: dg.AssetExecutionContext) -> dg.MaterializeResult[object]:
        return materialize(
            context,
            stage,
            lake=context.resources.lake,
            tracking=context.resources.tracking,
            recipe=context.resources.recipe,
            resources={name: getattr(context.resources, name) for name in resources},
            promotion_violations=promotion_violations,
        )

    return materialize_stage


def _deps(stage: Stage, recipe: Recipe) -> list[dg.AssetDep]:
    """One dependency per stage that the recipe makes this one read, on all its partitions if any
    input reads them all."""
    reads_all: dict[str, bool] = {}
    for read in stage.inputs_of(recipe):
        is_all = (
            stage.partitions is not Partitions.NONE
            and read.stage.partitions is not Partitions.NONE
            and not read.is_same_partition(stage.partitions)
        )
        reads_all[read.stage.name] = reads_all.get(read.stage.name, False) or is_all
    return [
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping() if is_all else None)
        for name, is_all in reads_all.items()
    ]


def _column_schema(stage: Stage) -> dict[str, dg.TableSchema]:
    """The columns of the stage's first table, which Dagster shows on the asset's page."""
    if not stage.tables:
        return {}
    return {"dagster/column_schema": table_schema(stage.tables[0].schema)}


def table_schema(schema: pa.Schema) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=str(field.type),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )
