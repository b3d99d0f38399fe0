"""What the dbt project may read: the lake's tables, as the files of chosen generations."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from snow_assets import documents, shards
from snow_assets.tables.labels import labels

_SCHEMAS: dict[tuple[str, str], pa.Schema] = {
    ("raw_code_corpus", "files"): documents.RAW_FILE,
    ("raw_code_corpus", "drops"): documents.DROP,
    ("documents", "documents"): documents.DOCUMENT,
    ("documents", "drops"): documents.DROP,
    ("near_duplicates", "clusters"): documents.DUPLICATE_CLUSTER,
    ("contamination", "hits"): documents.CONTAMINATION,
    ("clean_corpus", "decisions"): documents.DECISION,
    ("quality_scores", "scores"): documents.SCORE,
    ("high_quality_subset", "documents"): documents.SELECTION,
    ("synthetic_set", "documents"): documents.SYNTHETIC_DOCUMENT,
    ("synthetic_set", "refusals"): documents.SYNTHETIC_REFUSAL,
    ("general_checkpoint", "seen"): documents.SEEN,
    ("continued_checkpoint", "seen"): documents.SEEN,
    ("enhanced_checkpoint", "seen"): documents.SEEN,
    ("benchmark_results", "results"): documents.RESULT,
    ("benchmark_results", "answers"): documents.ANSWER,
}
"""Every table that a dbt source may name, and what it looks like before anything is there."""

WITH_HISTORY = "quality_scores"
"""The asset whose every generation is read: older annotators' scores stay queryable."""
CHECKPOINTS = ("general_checkpoint", "continued_checkpoint", "enhanced_checkpoint")
"""Their ancestors are read as well: a child may stand on a parent that is current no longer."""

_REQUIRED = {"nullable": False}
_GENERATION = pa.schema(
    [
        pa.field("asset", pa.string(), **_REQUIRED),
        pa.field("partition", pa.string(), **_REQUIRED),
        pa.field("generation", pa.string(), **_REQUIRED),
        pa.field("digest", pa.string(), **_REQUIRED),
        pa.field("is_current", pa.bool_(), **_REQUIRED),
        pa.field("code_version", pa.string(), **_REQUIRED),
        pa.field("recipe", pa.string(), **_REQUIRED),
        pa.field("num_files", pa.int64(), **_REQUIRED),
        pa.field("num_bytes", pa.int64(), **_REQUIRED),
        pa.field("num_rows", pa.int64(), **_REQUIRED),
        pa.field("num_tokens", pa.int64(), **_REQUIRED),
        pa.field("facts", pa.string(), **_REQUIRED),  # JSON
    ]
)
_INPUT = pa.schema(
    [
        pa.field(name, pa.string(), **_REQUIRED)
        for name in (
            "asset", "partition", "generation",
            "input_asset", "input_partition", "input_generation", "input_digest",
        )
    ]
)  # fmt: skip
_PUBLICATION = pa.schema(
    [
        pa.field("inputs_digest", pa.string(), **_REQUIRED),
        pa.field("recipe", pa.string(), **_REQUIRED),
    ]
)


class Relation(NamedTuple):
    """One table of the lake: the Parquet files (URLs) that hold its rows; none: it is empty."""

    asset: str
    table: str
    schema: pa.Schema
    files: tuple[str, ...]
    current: frozenset[str]  # generations that the recipe's pointers name


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A finished generation that the tables are made from."""

    folder: str
    manifest: shards.Manifest
    is_current: bool


@dataclass(frozen=True, kw_only=True)
class LakeTables:
    """All that a publication is made from. `digest` names it: equal inputs, equal digest."""

    relations: Sequence[Relation]
    manifests: dict[str, pa.Table]  # generations, inputs, labels, publication
    generations: Sequence[Generation]
    digest: str


def lake_tables(lake: str, current: Iterable[str], *, recipe: str, project: str) -> LakeTables:
    """The tables behind a recipe's `current` generations (URLs).

    `project` is the digest of what will be made of them, so that an edited model publishes anew.
    Reads manifests and labels only. Memory: those, a few hundred bytes for each file.
    """
    found = {folder: shards.manifest(folder) for folder in sorted(current)}
    known = set(found)
    for folder in _ancestors(lake, found) + _history(lake):
        if folder not in found and (manifest := shards.sound_manifest(folder)) is not None:
            found[folder] = manifest
    generations = [
        Generation(folder=folder, manifest=found[folder], is_current=folder in known)
        for folder in sorted(found)
    ]
    parts = [
        [made.manifest.asset, made.manifest.partition, made.manifest.generation,
         made.manifest.digest, made.is_current]
        for made in generations
    ]  # fmt: skip
    graded = labels(lake)
    made_from = [recipe, project, parts, graded.to_pylist()]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    return LakeTables(
        relations=[
            _relation(asset, table, schema, generations)
            for (asset, table), schema in _SCHEMAS.items()
        ],
        manifests={
            "generations": pa.Table.from_pylist([_row(made) for made in generations], _GENERATION),
            "inputs": pa.Table.from_pylist(_input_rows(generations), _INPUT),
            "labels": graded,
            "publication": pa.Table.from_pylist(
                [{"inputs_digest": digest, "recipe": recipe}], _PUBLICATION
            ),
        },
        generations=generations,
        digest=digest,
    )


def _history(lake: str) -> list[str]:
    root = shards.join(lake, WITH_HISTORY)
    return [
        shards.join(root, partition, generation)
        for partition in shards.names(root)
        for generation in shards.names(shards.join(root, partition))
    ]


def _ancestors(lake: str, found: dict[str, shards.Manifest]) -> list[str]:
    """The checkpoints that these checkpoints were trained from, and theirs."""
    waiting = [made for made in found.values() if made.asset in CHECKPOINTS]
    folders: list[str] = []
    while waiting:
        for parent in waiting.pop().inputs:
            folder = shards.join(lake, parent.asset, parent.partition, parent.generation)
            is_checkpoint = parent.asset in CHECKPOINTS
            if not is_checkpoint or folder in folders:
                continue
            if (manifest := shards.sound_manifest(folder)) is not None:
                folders.append(folder)
                waiting.append(manifest)
    return folders


def _relation(
    asset: str, table: str, schema: pa.Schema, generations: Sequence[Generation]
) -> Relation:
    own = [made for made in generations if made.manifest.asset == asset]
    return Relation(
        asset=asset,
        table=table,
        schema=schema,
        files=tuple(
            shards.join(made.folder, entry.name)
            for made in own
            for entry in made.manifest.tables(table)
        ),
        current=frozenset(made.manifest.generation for made in own if made.is_current),
    )


def _row(made: Generation) -> dict[str, Any]:
    manifest = made.manifest
    return {
        "asset": manifest.asset,
        "partition": manifest.partition,
        "generation": manifest.generation,
        "digest": manifest.digest,
        "is_current": made.is_current,
        "code_version": manifest.code_version,
        "recipe": manifest.recipe,
        "num_files": len(manifest.files),
        "num_bytes": sum(entry.num_bytes for entry in manifest.files),
        "num_rows": sum(entry.num_rows or 0 for entry in manifest.files),
        "num_tokens": sum(entry.num_tokens or 0 for entry in manifest.files),
        "facts": json.dumps(manifest.facts, sort_keys=True),
    }


def _input_rows(generations: Sequence[Generation]) -> list[dict[str, Any]]:
    return [
        {
            "asset": made.manifest.asset,
            "partition": made.manifest.partition,
            "generation": made.manifest.generation,
            **{f"input_{name}": value for name, value in asdict(given).items()},
        }
        for made in generations
        for given in made.manifest.inputs
    ]
