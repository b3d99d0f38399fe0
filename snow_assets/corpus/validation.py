"""Metadata and validation of ingested sources: counts as a table, violations as sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.corpus.licenses import is_permitted
from snow_assets.corpus.raw_shards import DROPS, FILES
from snow_assets.markdown import table
from snow_assets.recipe import CorpusRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import ranges_of_ids
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import RAW_FILE
from snow_assets.storage.shards import FileRecord

_DOCUMENT_IDS = pa.schema([RAW_FILE.field("document_id")])
_REPEATED = pa.schema([("num_ids", pa.int64()), ("first_id", pa.string())])
_ID_BYTES = 70
_MAX_ROWS = 50


def markdown(stats: Mapping[str, Any]) -> str:
    """The largest counts as a Markdown table; untrusted names are escaped."""
    rows = [
        (count, kind, name)
        for kind in ("languages", "licenses", "reasons")
        for name, count in stats.get(kind, {}).items()
    ]
    rows.sort(key=lambda row: (row[1], -row[0], row[2]))
    cells = [(kind, name, count) for count, kind, name in rows[:_MAX_ROWS]]
    return table(["what", "name", "files"], cells)


def validate_counts(folders: Sequence[str], *, exchange: Exchange = IN_PROCESS) -> list[str]:
    """Validate that rows add up to the input files, and that documents are unique.

    Memory: that of the exchange, whatever a source's size.
    """
    violations = []
    for folder in folders:
        manifest = shards.manifest(folder)
        num_in = manifest.stats["num_files_in"]
        num_rows = manifest.num_rows(FILES) + manifest.num_rows(DROPS)
        if num_in != num_rows:
            violations.append(f"{folder}: {num_in} came in, {num_rows} are in files and drops")
        ids = exchange.by_key(
            exchange.map_shards(
                _document_ids, manifest.tables(FILES), schema=_DOCUMENT_IDS, folder=folder
            ),
            ranges_of_ids("document_id"),
            num_partitions=exchange.num_partitions(manifest.num_rows(FILES) * _ID_BYTES),
        )
        repeated = exchange.map_shards(_repeated_ids, ids, schema=_REPEATED)
        counts = pa.concat_tables([_REPEATED.empty_table(), *exchange.gather(repeated)])
        if num_repeated := pc.sum(counts["num_ids"]).as_py():
            first = pc.min(counts["first_id"]).as_py()
            violations.append(f"{folder}: {num_repeated} documents stand in it twice, as {first}")
    return violations


def _document_ids(entry: FileRecord, *, folder: str) -> pa.Table:
    return shards.read_shard(folder, entry.name, columns=_DOCUMENT_IDS.names).cast(_DOCUMENT_IDS)


def _repeated_ids(ids: pa.Table) -> pa.Table:
    counts = ids["document_id"].value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    return pa.table([[len(repeated)], [pc.min(repeated).as_py()]], schema=_REPEATED)


def validate_licenses(folders: Sequence[str], permissive: Sequence[str]) -> list[str]:
    """Validate that all licences of admitted files are on the allow-list. Memory: a shard's."""
    counts: Counter[str] = Counter()
    for folder in folders:
        for shard in shards.read_shards(
            folder, shards.manifest(folder).tables(FILES), columns=["license"]
        ):
            counts.update(shard["license"].to_pylist())
    return [
        f"{count} files are under {name}, which is not on the allow-list"
        for name, count in sorted(counts.items())
        if not is_permitted(name, permissive)
    ]


def validate_sources(partitions: Mapping[str, str], recipe: CorpusRecipe) -> list[str]:
    """Validate that all sources were ingested, with enough repositories in total."""
    violations = [
        f"the source {source.name} was never materialized"
        for source in recipe.sources
        if source.name not in partitions
    ]
    counts = [shards.manifest(folder).stats["num_repositories"] for folder in partitions.values()]
    if sum(counts) < recipe.min_repositories:
        violations.append(
            f"{sum(counts)} repositories; the recipe requires {recipe.min_repositories}"
        )
    return violations
