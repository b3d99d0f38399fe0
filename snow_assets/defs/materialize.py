"""Materialize a stage: fingerprint, reuse, manifest, metadata, MLflow run, current pointer.

An artifact's fingerprint is the digest of its inputs' digests, its config and an explicit code
version. Where that artifact is finished, nothing is done again; the recipe's pointer moves to it
either way, and downstream stages read what the pointer names.

What Dagster and MLflow show is part of the artifact (`artifact_metadata.py`): a reused one shows
the same page, and is recorded in MLflow if a kill or an outage left it unrecorded. An artifact
with missing, truncated or damaged files is made again, and must come out with the same digest.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dagster as dg

from snow_assets.defs.artifact_metadata import (
    ArtifactMetadata,
    MaterializationRun,
    put_metadata,
    read_metadata,
)
from snow_assets.defs.stage_job import run_stage
from snow_assets.defs.unfinished import mark_in_progress, refuse_mixed_config
from snow_assets.recipe import Recipe
from snow_assets.stages import (
    UNPARTITIONED,
    Artifact,
    ArtifactSpec,
    Partitions,
    Stage,
    StageInputs,
    StageRun,
    as_json,
    partition_names,
)
from snow_assets.storage import integrity, shards
from snow_assets.storage.pointers import pointer_content, read_pointer
from snow_assets.storage.shards import DamagedFileError
from snow_resources.lake import Lake
from snow_resources.live_runs import LiveRun
from snow_resources.tracking import (
    PENDING_DIGEST,
    Record,
    RunLink,
    TrackedDataset,
    TrackedModel,
    Tracking,
    git_commit,
    materialization_record,
)


def current_artifact(
    lake: Lake, recipe: Recipe, asset: str, partition: str = UNPARTITIONED
) -> Artifact:
    """What the recipe's pointer names; FileNotFoundError names what to materialize first."""
    url = lake.pointer(recipe.name, asset, partition)
    pointer = read_pointer(url)
    if pointer is None:
        raise FileNotFoundError(
            f"{asset} [{partition}] was never materialized with recipe {recipe.name}: "
            f"materialize it first ({url} is missing)"
        )
    return Artifact(
        asset=asset,
        partition=partition,
        folder=lake.artifact(asset, partition, pointer["fingerprint"]),
        fingerprint=pointer["fingerprint"],
        digest=pointer["digest"],
    )


def current_artifacts(lake: Lake, recipe: Recipe, asset: str) -> list[Artifact]:
    """Every partition of an asset that the recipe names and has materialized, in name order.

    A pointer of a source or a language that the recipe no longer names is left out.
    """
    named = {name for kind in Partitions for name in partition_names(kind, recipe)}
    names = [name.removesuffix(".json") for name in shards.names(lake.pointers(recipe.name, asset))]
    return [current_artifact(lake, recipe, asset, name) for name in names if name in named]


def all_current_artifacts(lake: Lake, recipe: Recipe) -> list[Artifact]:
    """Every partition of every asset that the recipe has materialized."""
    assets = shards.names(lake.pointers(recipe.name, "").rstrip("/"))
    return [artifact for asset in assets for artifact in current_artifacts(lake, recipe, asset)]


def materialize(
    context: dg.AssetExecutionContext,
    stage: Stage,
    *,
    lake: Lake,
    tracking: Tracking,
    recipe: Recipe,
    resources: Mapping[str, Any],
    promotion_violations: Callable[[Lake, Recipe], Sequence[str]],
) -> dg.MaterializeResult[Any]:
    """Run a stage unless its artifact is finished, and publish it under the recipe.

    `resources` are those that the stage declares beside lake, tracking and recipe.
    `promotion_violations` hold back the promotion of a model.
    """
    inputs = StageInputs(
        stage=stage,
        partition=context.partition_key if context.has_partition_key else UNPARTITIONED,
        recipe=recipe,
        lake=lake,
        resolve=partial(current_artifact, lake, recipe),
        resources=resources,
    )
    spec = inputs.artifact_spec()
    recorded = make_artifact(
        context,
        inputs,
        spec,
        tracking=tracking,
        promotion_violations=partial(promotion_violations, lake, recipe),
    )
    manifest = recorded.manifest
    content = pointer_content(spec.fingerprint, manifest.digest, recorded.link.ids)
    shards.put(lake.pointer(recipe.name, spec.asset, spec.partition), content)
    tag_run(context, recipe)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.digest),
        metadata={
            **_stats_entries(manifest),
            **recorded.metadata.entries,
            **recorded.link.metadata,
            "reused": recorded.is_reused,
            "folder": dg.MetadataValue.path(recorded.folder),
            "fingerprint": spec.fingerprint,
            "recipe": recipe.name,
            "recipe_values": dg.MetadataValue.json(as_json(recipe)),
            "config": dg.MetadataValue.json(spec.config),
        },
        tags={"snow/recipe": recipe.name},
    )


@dataclass(frozen=True, kw_only=True)
class RecordedArtifact:
    """A finished artifact with its MLflow run."""

    folder: str
    manifest: shards.Manifest
    metadata: ArtifactMetadata
    link: RunLink
    is_reused: bool


def make_artifact(
    context: dg.AssetExecutionContext,
    inputs: StageInputs,
    spec: ArtifactSpec,
    *,
    tracking: Tracking,
    promotion_violations: Callable[[], Sequence[str]] = list,
) -> RecordedArtifact:
    """Make an artifact unless it is finished, and record it in MLflow; no pointer moves."""
    folder = inputs.lake.artifact(spec.asset, spec.partition, spec.fingerprint)
    fields = {name: getattr(inputs, name) for name in StageInputs.__dataclass_fields__}
    run = StageRun(
        **fields,
        folder=folder,
        config=spec.config,
        context=context,
        live_run=partial(_live_run, context, spec, folder, inputs.recipe, tracking),
    )
    artifact = _reusable(context, folder)
    is_reused = artifact is not None
    manifest, metadata = artifact or _worked(run, spec)
    record = artifact_record(folder, manifest, metadata, recipe=inputs.recipe.name)
    record = replace(record, is_gated=bool(inputs.recipe.promotion_gates))
    if record.is_promoted and (violations := promotion_violations()):
        context.log.warning(f"{spec.asset} is not promoted: {'; '.join(violations)}")
        record = record.without_promotion()
    link = tracking.record(context.log, record)
    return RecordedArtifact(
        folder=folder, manifest=manifest, metadata=metadata, link=link, is_reused=is_reused
    )


def _live_run(
    context: dg.AssetExecutionContext,
    spec: ArtifactSpec,
    folder: str,
    recipe: Recipe,
    tracking: Tracking,
    model: TrackedModel | None,
) -> LiveRun:
    """The MLflow run of an artifact in progress; what it records later, `artifact_record` says."""
    now = time.time()
    record = materialization_record(
        asset=spec.asset,
        partition=spec.partition,
        recipe=recipe.name,
        code_version=spec.code_version,
        config=spec.config,
        inputs=[
            TrackedDataset(
                name=f"{read.asset}/{read.partition}", url=read.folder, digest=read.digest
            )
            for read in spec.inputs
        ],
        output=TrackedDataset(
            name=f"{spec.asset}/{spec.partition}", url=folder, digest=PENDING_DIGEST
        ),
        stats={},
        model=model,
        started=now,
        ended=now,
        dagster_run_id=context.op_execution_context.run_id,
        git_commit=git_commit(),
    )
    return LiveRun(tracking=tracking, record=record, log=context.log)


Finished = tuple[shards.Manifest, ArtifactMetadata]


def _reusable(context: dg.AssetExecutionContext, folder: str) -> Finished | None:
    """The finished artifact; None if there is none, or if it was damaged and is cleared away."""
    if not shards.is_finished(folder):
        if wrong := integrity.unfinished_violations(folder):
            _clear(context, folder, wrong)
        return None
    try:
        manifest = shards.manifest(folder)
    except DamagedFileError as error:
        context.log.warning(f"{error}; this run does so")
        _clear(context, folder, integrity.record_violations(folder))
        return None
    wrong = integrity.violations(folder, manifest)
    if not wrong:
        try:
            return manifest, read_metadata(folder, manifest)
        except DamagedFileError as error:
            wrong = {error.url.removeprefix(f"{folder}/"): error.reason}
    _clear(context, folder, wrong)
    return None


def _clear(context: dg.AssetExecutionContext, folder: str, wrong: Mapping[str, str]) -> None:
    for name, reason in wrong.items():
        context.log.warning(f"{shards.join(folder, name)}: {reason}; it is made again")
    integrity.clear(folder, wrong)


def _worked(run: StageRun, spec: ArtifactSpec) -> Finished:
    """Do the work, and write metadata and manifest."""
    context, folder, recipe = run.context, run.folder, run.recipe
    started = time.time()
    refuse_mixed_config(run.lake, recipe, spec)
    is_resumed = mark_in_progress(folder, recipe, spec)
    result = run_stage(run, spec)
    earlier = integrity.earlier_digest(folder)
    if earlier not in (None, shards.content_digest(shards.records(folder))):
        context.log.warning(f"{folder} differs from the damaged artifact: all of it is made anew")
        integrity.clear_all(folder)
        result = run_stage(run, spec)
    finished = time.time()
    metadata_files = put_metadata(
        folder,
        entries=result.metadata,
        metrics=result.metrics,
        run=MaterializationRun(
            dagster_run_id=context.op_execution_context.run_id,
            git_commit=git_commit(),
            started=started,
            finished=finished,
            model=result.model,
        ),
    )
    manifest = shards.finish(
        folder,
        asset=spec.asset,
        partition=spec.partition,
        fingerprint=spec.fingerprint,
        code_version=spec.code_version,
        recipe=recipe.name,
        config=spec.config,
        inputs=[artifact.as_input() for artifact in (*spec.inputs, *result.inputs)],
        stats=dict(result.stats),
        finished=finished,
        seconds=None if is_resumed else finished - started,
        metadata_files=metadata_files,
    )
    if earlier not in (None, manifest.digest):
        context.log.warning(
            f"{folder} was damaged and came out with another digest ({manifest.digest[:12]}, not "
            f"{str(earlier)[:12]}): its work is not deterministic here, so what reads it is redone"
        )
    # Read back, so that a first materialization shows what every later one will.
    return manifest, read_metadata(folder, manifest)


def artifact_record(
    folder: str, manifest: shards.Manifest, metadata: ArtifactMetadata, *, recipe: str
) -> Record:
    """What MLflow keeps of an artifact, from the artifact's own files alone."""
    lake = folder.rsplit("/", 3)[0]
    run = metadata.run
    ended = manifest.finished or (run.finished if run else time.time())
    return materialization_record(
        asset=manifest.asset,
        partition=manifest.partition,
        recipe=recipe,
        code_version=manifest.code_version,
        config=manifest.config,
        inputs=[
            TrackedDataset(
                name=f"{read.asset}/{read.partition}",
                url=shards.join(lake, read.asset, read.partition, read.fingerprint),
                digest=read.digest,
            )
            for read in manifest.inputs
        ],
        output=TrackedDataset(
            name=f"{manifest.asset}/{manifest.partition}", url=folder, digest=manifest.digest
        ),
        stats=manifest.stats,
        metrics=metadata.metrics,
        plots=metadata.plots,
        model=run.model if run else None,
        started=run.started if run else ended - (manifest.seconds or 0),
        ended=ended,
        dagster_run_id=run.dagster_run_id if run else "",
        git_commit=run.git_commit if run else "",
    )


def tag_run(context: dg.AssetExecutionContext, recipe: Recipe) -> None:
    """Name the recipe and its values on the run; a run that is no part of an instance has none."""
    values = json.dumps(as_json(recipe), sort_keys=True)
    digest = hashlib.sha256(values.encode()).hexdigest()[:16]
    run_id = context.op_execution_context.run_id
    if context.instance.has_run(run_id):
        tags = {"snow/recipe": recipe.name, "snow/recipe_digest": digest}
        context.instance.add_run_tags(run_id, tags)


def check_result(
    faults: Sequence[str], severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """Passed if nothing is wrong; else the first faults as the description."""
    return dg.AssetCheckResult(
        passed=not faults, severity=severity, description="; ".join(faults[:5]) or None
    )


def _stats_entries(manifest: shards.Manifest) -> dict[str, Any]:
    """Sizes and the manifest's stats, each an entry of its own, so that Dagster plots them."""
    entries: dict[str, Any] = {
        name: value
        for name, value in manifest.stats.items()
        if isinstance(value, bool | int | float)
    }
    entries["num_bytes"] = manifest.files.total("num_bytes")
    entries["stats"] = dg.MetadataValue.json(manifest.stats)
    if manifest.files.column("num_rows").is_valid().to_numpy(zero_copy_only=False).any():
        entries["dagster/row_count"] = manifest.files.total("num_rows")
        entries["num_tokens"] = manifest.files.total("num_tokens")
    return entries
