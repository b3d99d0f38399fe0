"""What the dbt project may read: the lake's tables, as the files of every recipe's generations."""

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
            "recipe",
            "asset",
            "partition",
            "generation",
            "input_asset",
            "input_partition",
            "input_generation",
            "input_digest",
        )
    ]
)
_PUBLICATION = pa.schema(
    [
        pa.field("inputs_digest", pa.string(), **_REQUIRED),
        pa.field("recipe", pa.string(), **_REQUIRED),
    ]
)


class RecipeFiles(NamedTuple):
    """Parquet files (URLs) whose rows are a recipe's, as its pointers name them now or did once."""

    recipe: str
    is_current: bool
    files: tuple[str, ...]


class Relation(NamedTuple):
    """One table of the lake, by recipe; without files it is empty.

    A file that several recipes' pointers name is there for each of them.
    """

    asset: str
    table: str
    schema: pa.Schema
    parts: tuple[RecipeFiles, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file, in the order of folders."""
        return tuple(sorted({url for part in self.parts for url in part.files}))


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A finished generation that a recipe's rows are made from."""

    recipe: str
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
    """The tables behind a recipe's `current` generations (URLs), and all other recipes' own.

    A recipe is one that has pointers in the lake. `project` is the digest of what will be made of
    the tables, so that an edited model publishes anew. Reads pointers, manifests and labels only.
    Memory: those, a few hundred bytes for each file.
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
    generations = [
        Generation(
            recipe=name,
            folder=folder,
            manifest=manifests[folder],
            is_current=is_current[name, folder],
        )
        for folder, name in sorted((folder, name) for name, folder in is_current)
    ]
    parts = [
        [
            made.recipe,
            made.manifest.asset,
            made.manifest.partition,
            made.manifest.generation,
            made.manifest.digest,
            made.is_current,
        ]
        for made in generations
    ]
    graded = labels(lake)
    made_from = [sorted(current_by_recipe), project, parts, graded.to_pylist()]
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
                [{"inputs_digest": digest, "recipe": name} for name in sorted(current_by_recipe)],
                _PUBLICATION,
            ),
        },
        generations=generations,
        digest=digest,
    )


def _other_recipes(lake: str, recipe: str) -> dict[str, set[str]]:
    """The folders that the pointers of all recipes but this one name, by recipe."""
    root = shards.join(lake, "current")
    return {
        name: {
            _pointed(lake, shards.join(root, name, asset, pointer), asset, pointer)
            for asset in shards.names(shards.join(root, name))
            for pointer in shards.names(shards.join(root, name, asset))
        }
        for name in shards.names(root)
        if name != recipe
    }


def _pointed(lake: str, url: str, asset: str, pointer: str) -> str:
    try:
        generation = str(json.loads(shards.get(url))["generation"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"the pointer {url} is damaged ({error}): materialize {asset} again with that recipe"
        ) from error
    return shards.join(lake, asset, pointer.removesuffix(".json"), generation)


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
        parts=tuple(
            RecipeFiles(recipe=recipe, is_current=is_current, files=files)
            for recipe, is_current in sorted({(made.recipe, made.is_current) for made in own})
            if (files := _files(own, table, recipe, is_current=is_current))
        ),
    )


def _files(
    generations: Sequence[Generation], table: str, recipe: str, *, is_current: bool
) -> tuple[str, ...]:
    return tuple(
        shards.join(made.folder, entry.name)
        for made in generations
        if (made.recipe, made.is_current) == (recipe, is_current)
        for entry in made.manifest.tables(table)
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
        "recipe": made.recipe,
        "num_files": len(manifest.files),
        "num_bytes": sum(entry.num_bytes for entry in manifest.files),
        "num_rows": sum(entry.num_rows or 0 for entry in manifest.files),
        "num_tokens": sum(entry.num_tokens or 0 for entry in manifest.files),
        "facts": json.dumps(manifest.facts, sort_keys=True),
    }


def _input_rows(generations: Sequence[Generation]) -> list[dict[str, Any]]:
    return [
        {
            "recipe": made.recipe,
            "asset": made.manifest.asset,
            "partition": made.manifest.partition,
            "generation": made.manifest.generation,
            **{f"input_{name}": value for name, value in asdict(given).items()},
        }
        for made in generations
        for given in made.manifest.inputs
    ]
