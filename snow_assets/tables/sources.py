"""Sources of the dbt project: the lake's tables, as the files of every recipe's artifacts."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from snow_assets.defs.graph import FURTHER_STAGES, STAGES, stage_of, stages_in
from snow_assets.stages import Stage
from snow_assets.storage import shards
from snow_assets.storage.lake_folders import artifact_folders, pointers
from snow_assets.tables.labels import labels
from snow_resources.publishing import RecipeFiles, Relation

_REQUIRED = {"nullable": False}
_ARTIFACT_SCHEMA = pa.schema(
    [
        pa.field("asset", pa.string(), **_REQUIRED),
        pa.field("partition", pa.string(), **_REQUIRED),
        pa.field("fingerprint", pa.string(), **_REQUIRED),
        pa.field("digest", pa.string(), **_REQUIRED),
        pa.field("is_current", pa.bool_(), **_REQUIRED),
        pa.field("code_version", pa.string(), **_REQUIRED),
        pa.field("recipe", pa.string(), **_REQUIRED),
        pa.field("num_files", pa.int64(), **_REQUIRED),
        pa.field("num_bytes", pa.int64(), **_REQUIRED),
        pa.field("num_rows", pa.int64(), **_REQUIRED),
        pa.field("num_tokens", pa.int64(), **_REQUIRED),
        pa.field("stats", pa.string(), **_REQUIRED),  # JSON
    ]
)
_INPUT_SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), **_REQUIRED)
        for name in (
            "recipe",
            "asset",
            "partition",
            "fingerprint",
            "input_asset",
            "input_partition",
            "input_fingerprint",
            "input_digest",
        )
    ]
)
_PUBLICATION_SCHEMA = pa.schema(
    [
        pa.field("inputs_digest", pa.string(), **_REQUIRED),
        pa.field("recipe", pa.string(), **_REQUIRED),
    ]
)


@dataclass(frozen=True, kw_only=True)
class RecipeArtifact:
    """A finished artifact whose rows are published for a recipe."""

    recipe: str
    folder: str
    manifest: shards.Manifest
    is_current: bool


@dataclass(frozen=True, kw_only=True)
class LakeTables:
    """Inputs of a publication. `digest` identifies them: equal inputs have equal digests."""

    relations: Sequence[Relation]
    manifests: dict[str, pa.Table]  # artifacts, inputs, labels, publication
    artifacts: Sequence[RecipeArtifact]
    digest: str


def lake_tables(lake: str, current: Iterable[str], *, recipe: str, project: str) -> LakeTables:
    """Collect the tables of a recipe's `current` artifacts (URLs) and of all other recipes.

    Recipes are those with pointers in the lake. `project`: digest of the dbt project, so that an
    edited model is published again. Reads pointers, manifests and labels only. Memory: a few
    hundred bytes for each file.
    """
    current_by_recipe = {recipe: set(current), **_other_recipes(lake, recipe)}
    manifests: dict[str, shards.Manifest] = {}
    is_current: dict[tuple[str, str], bool] = {}
    for name, folders in current_by_recipe.items():
        manifests |= {folder: shards.manifest(folder) for folder in folders - manifests.keys()}
        is_current |= {(name, folder): True for folder in folders}
        for folder in _ancestors(lake, {folder: manifests[folder] for folder in folders}):
            if (manifest := shards.sound_manifest(folder)) is not None:
                manifests[folder] = manifest
                is_current.setdefault((name, folder), False)
    for folder in _history(lake):
        if (manifest := shards.sound_manifest(folder)) is not None:
            manifests[folder] = manifest
            is_current.setdefault((manifest.recipe, folder), False)
    artifacts = [
        RecipeArtifact(
            recipe=name,
            folder=folder,
            manifest=manifests[folder],
            is_current=is_current[name, folder],
        )
        for folder, name in sorted((folder, name) for name, folder in is_current)
    ]
    parts = [
        [
            artifact.recipe,
            artifact.manifest.asset,
            artifact.manifest.partition,
            artifact.manifest.fingerprint,
            artifact.manifest.digest,
            artifact.is_current,
        ]
        for artifact in artifacts
    ]
    labels_table = labels(lake)
    digest_inputs = [sorted(current_by_recipe), project, parts, labels_table.to_pylist()]
    digest = hashlib.sha256(json.dumps(digest_inputs).encode()).hexdigest()
    return LakeTables(
        relations=[
            relation(
                source,
                table,
                schema,
                [artifact for artifact in artifacts if artifact.manifest.asset in assets],
            )
            for (source, table), (schema, assets) in dbt_sources(stages_in(lake)).items()
        ],
        manifests={
            "artifacts": pa.Table.from_pylist(
                [_artifact_row(artifact) for artifact in artifacts], _ARTIFACT_SCHEMA
            ),
            "inputs": pa.Table.from_pylist(_input_rows(artifacts), _INPUT_SCHEMA),
            "labels": labels_table,
            "publication": pa.Table.from_pylist(
                [{"inputs_digest": digest, "recipe": name} for name in sorted(current_by_recipe)],
                _PUBLICATION_SCHEMA,
            ),
        },
        artifacts=artifacts,
        digest=digest,
    )


def dbt_sources(stages: Iterable[Stage]) -> dict[tuple[str, str], tuple[pa.Schema, set[str]]]:
    """The dbt project's sources by name and table: the columns, and the assets that write them.

    Those of further annotators are sources of every recipe, without assets where it has none.
    """
    sources: dict[tuple[str, str], tuple[pa.Schema, set[str]]] = {
        (table.dbt_source or stage.name, table.name): (table.schema, set())
        for stage in FURTHER_STAGES
        for table in stage.tables
        if table.is_dbt_source
    }
    for stage in stages:
        for table in stage.tables:
            if table.is_dbt_source:
                name = table.dbt_source or stage.name, table.name
                sources.setdefault(name, (table.schema, set()))[1].add(stage.name)
    return sources


def _other_recipes(lake: str, recipe: str) -> dict[str, set[str]]:
    """The artifact folders that the pointers of all other recipes name, by recipe."""
    folders: dict[str, set[str]] = {}
    for pointer in pointers(lake):
        if pointer.recipe == recipe:
            continue
        folder = pointer.folder()
        if folder is None:
            raise FileNotFoundError(
                f"the pointer {pointer.url} has gone: materialize the tables again"
            )
        folders.setdefault(pointer.recipe, set()).add(folder)
    return folders


def _history(lake: str) -> Iterator[str]:
    """Every artifact of the stages whose earlier ones stay queryable."""
    for stage in STAGES:
        if stage.keeps_history:
            yield from artifact_folders(lake, stage.name)


def is_checkpoint(asset: str) -> bool:
    """Whether artifacts of an asset are checkpoints, of whichever recipe's phase."""
    stage = stage_of(asset)
    return stage is not None and stage.is_checkpoint


def _ancestors(lake: str, manifests: dict[str, shards.Manifest]) -> list[str]:
    """Folders of the direct and indirect parents of these checkpoints: they may not be current."""
    queue = [manifest for manifest in manifests.values() if is_checkpoint(manifest.asset)]
    folders: list[str] = []
    while queue:
        for parent in queue.pop().inputs:
            folder = shards.join(lake, parent.asset, parent.partition, parent.fingerprint)
            if not is_checkpoint(parent.asset) or folder in folders:
                continue
            if (manifest := shards.sound_manifest(folder)) is not None:
                folders.append(folder)
                queue.append(manifest)
    return folders


def relation(
    source: str, table: str, schema: pa.Schema, artifacts: Sequence[RecipeArtifact]
) -> Relation:
    """A table of these artifacts, with the files of each recipe."""
    return Relation(
        source=source,
        table=table,
        schema=schema,
        parts=tuple(
            RecipeFiles(recipe=recipe, is_current=is_current, files=files)
            for recipe, is_current in sorted(
                {(artifact.recipe, artifact.is_current) for artifact in artifacts}
            )
            if (files := _files(artifacts, table, recipe, is_current=is_current))
        ),
    )


def _files(
    artifacts: Sequence[RecipeArtifact], table: str, recipe: str, *, is_current: bool
) -> tuple[str, ...]:
    return tuple(
        shards.join(artifact.folder, name)
        for artifact in artifacts
        if (artifact.recipe, artifact.is_current) == (recipe, is_current)
        for name in artifact.manifest.tables(table).column("name").to_pylist()
    )


def _artifact_row(artifact: RecipeArtifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "asset": manifest.asset,
        "partition": manifest.partition,
        "fingerprint": manifest.fingerprint,
        "digest": manifest.digest,
        "is_current": artifact.is_current,
        "code_version": manifest.code_version,
        "recipe": artifact.recipe,
        "num_files": len(manifest.files),
        "num_bytes": manifest.files.total("num_bytes"),
        "num_rows": manifest.files.total("num_rows"),
        "num_tokens": manifest.files.total("num_tokens"),
        "stats": json.dumps(manifest.stats, sort_keys=True),
    }


def _input_rows(artifacts: Sequence[RecipeArtifact]) -> list[dict[str, Any]]:
    return [
        {
            "recipe": artifact.recipe,
            "asset": artifact.manifest.asset,
            "partition": artifact.manifest.partition,
            "fingerprint": artifact.manifest.fingerprint,
            **{f"input_{name}": value for name, value in asdict(upstream).items()},
        }
        for artifact in artifacts
        for upstream in artifact.manifest.inputs
    ]
