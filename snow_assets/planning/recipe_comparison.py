"""What a changed recipe does to the data: two recipes' finished corpora compared in SQL.

DuckDB reads the lake's Parquet files and spills joins to disk; the memory bound is its limit plus
the result, whose rows are counts and at most `BOUNDARY_FILES` files a language and side.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from snow_assets.defs.curation import clean_corpus
from snow_assets.defs.dedup import near_duplicates
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.selection import high_quality_subset
from snow_assets.planning.comparison_queries import QUERIES
from snow_assets.recipe import Recipe
from snow_assets.stages import Stage, partition_names
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION, DUPLICATE_CLUSTER
from snow_assets.storage.schemas.quality import SELECTION
from snow_assets.tables.sources import RecipeArtifact, relation
from snow_resources.lake import Lake
from snow_resources.publishing import write_catalog

ASSET = "recipe_comparisons"
"""The folder of the lake that holds comparisons; no stage makes them."""
CODE_VERSION = "1"
BOUNDARY_FILES = 5
MEMORY_LIMIT = "4GB"
_SOURCES = (
    (clean_corpus, "decisions", DECISION),
    (near_duplicates, "clusters", DUPLICATE_CLUSTER),
    (high_quality_subset, "documents", SELECTION),
)


@dataclass(frozen=True, kw_only=True)
class RecipeComparison:
    """The tables of `comparison_queries.QUERIES`, and where they are stored."""

    before: str  # recipe names
    after: str
    folder: str
    finished: float  # seconds since the epoch
    has_subsets: bool  # whether both recipes have ranked and selected documents
    tables: Mapping[str, list[dict[str, Any]]]


def compare_recipes(lake: Lake, before: Recipe, after: Recipe) -> RecipeComparison:
    """Compare what the pointers of two recipes name, and store the tables in the lake.

    The comparison of the same artifacts is stored once, with the date of the first time. Without
    the subsets of both it says nothing of scores and selection. FileNotFoundError names what of
    the corpora has to be materialized first; ValueError if both have one name.
    """
    if before.name == after.name:
        raise ValueError(
            f"both recipes are named {before.name}: give the changed one another name, so that "
            "its artifacts have pointers of their own"
        )
    recipes = (before, after)
    artifacts = [
        artifact
        for recipe in recipes
        for stage in (clean_corpus, near_duplicates)
        for artifact in _artifacts(lake, recipe, stage)
    ]
    subsets: list[RecipeArtifact] = []
    with suppress(FileNotFoundError):  # the corpora are compared without them
        subsets = [
            artifact
            for recipe in recipes
            for artifact in _artifacts(lake, recipe, high_quality_subset)
        ]
    artifacts += subsets
    inputs = [_as_input(artifact) for artifact in artifacts]
    parts = [CODE_VERSION, before.name, after.name, [[*_key(read)] for read in inputs]]
    fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    partition = f"{before.name}-{after.name}"
    folder = lake.artifact(ASSET, partition, fingerprint)
    if not shards.is_finished(folder):
        for name, rows in _queried(artifacts, before=before.name, after=after.name).items():
            shards.put_table(folder, name, 0, rows, rows.schema)
        shards.finish(
            folder,
            asset=ASSET,
            partition=partition,
            fingerprint=fingerprint,
            code_version=CODE_VERSION,
            recipe=after.name,
            config={"before": before.name, "after": after.name},
            inputs=inputs,
            stats={},
            finished=time.time(),
        )
    return RecipeComparison(
        before=before.name,
        after=after.name,
        folder=folder,
        finished=shards.manifest(folder).finished or 0.0,
        has_subsets=bool(subsets),
        tables={name: shards.read(folder, name).to_pylist() for name in QUERIES},
    )


def _artifacts(lake: Lake, recipe: Recipe, stage: Stage) -> list[RecipeArtifact]:
    folders = [
        current_artifact(lake, recipe, stage.name, partition).folder
        for partition in partition_names(stage.partitions, recipe)
    ]
    return [
        RecipeArtifact(
            recipe=recipe.name, folder=folder, manifest=shards.manifest(folder), is_current=True
        )
        for folder in folders
    ]


def _as_input(artifact: RecipeArtifact) -> shards.Input:
    manifest = artifact.manifest
    return shards.Input(
        asset=manifest.asset,
        partition=manifest.partition,
        fingerprint=manifest.fingerprint,
        digest=manifest.digest,
    )


def _key(read: shards.Input) -> tuple[str, str, str]:
    return read.asset, read.partition, read.digest


def _queried(
    artifacts: Sequence[RecipeArtifact], *, before: str, after: str
) -> dict[str, pa.Table]:
    """The result of each query."""
    import duckdb

    relations = []
    for stage, table, schema in _SOURCES:
        own = [item for item in artifacts if item.manifest.asset == stage.name]
        relations.append(relation(stage.name, table, schema, own))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "catalog.duckdb"
        is_remote = write_catalog(path, relations, {})
        with duckdb.connect(str(path)) as connection:
            if is_remote:
                connection.register_filesystem(fsspec.filesystem("s3"))
            connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
            connection.execute(f"set temp_directory = '{scratch}/spilled'")
            connection.execute("set variable before = ?", [before])
            connection.execute("set variable after = ?", [after])
            connection.execute("set variable boundary_files = ?", [BOUNDARY_FILES])
            return {name: connection.sql(query).to_arrow_table() for name, query in QUERIES.items()}
