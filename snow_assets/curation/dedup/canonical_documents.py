"""Assign a cluster and its canonical document to each document, from verified pairs.

A cluster is a connected component of exact and verified near duplicates; its canonical document
(stored as `cluster_id`) has the smallest (repository, path, document_id). Documents are exchanged
by cluster and the outcomes by shard: memory does not grow with the corpus.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.dedup.connected_components import Components, components_of
from snow_assets.curation.dedup.filtered_shards import FilteredShard
from snow_assets.curation.dedup.text_keys import find_keys, text_keys
from snow_assets.curation.document_shards import document_shards
from snow_assets.recipe import FiltersRecipe
from snow_assets.runtime.exchange.contract import Exchange, Partition
from snow_assets.runtime.exchange.partitions import indices_in, range_of_indices, ranges_of
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DUPLICATE_CLUSTER

REPOSITORY = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("num_canonical", pa.int64(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),  # of the canonical documents' texts
    ]
)
"""Table `repositories` of `near_duplicates`: the input of the train/held-out split."""

_CANONICAL_ORDER = ["repository", "path", "document_id"]  # the smallest is canonical
_KINDS = pa.array([None, "near", "exact"], pa.string())
_CANONICAL, _NEAR, _EXACT = range(3)

_DOCUMENT = pa.schema(
    [("cluster", pa.uint64()), ("text", pa.uint64()), ("shard", pa.int64()), ("row", pa.int64())]
    + [(name, pa.string()) for name in _CANONICAL_ORDER]
)
_OUTCOME = pa.schema(
    [
        ("partition", pa.uint16()),
        ("shard", pa.int64()),
        ("row", pa.int64()),
        ("cluster_id", pa.string()),
        ("kind", pa.int8()),
    ]
)
_COUNT_KEYS = ["source", "repository", "language", "kind"]
_COUNT = pa.schema(
    [(name, pa.string()) for name in _COUNT_KEYS]
    + [("num_documents", pa.int64()), ("num_bytes", pa.int64())]
)
_DOCUMENT_BYTES = 300  # approximate, with repository, path and id


def put_clusters(
    document_folders: Sequence[str],
    verified_folder: str,
    folder: str,
    *,
    filters: FiltersRecipe,
    exchange: Exchange,
) -> dict[str, Any]:
    """Write `clusters`, co-partitioned with the documents, and `repositories`; return the stats.

    Memory: a shard or a partition, 24 bytes per text in a verified pair, and the repositories.
    """
    filtered_shards = [
        FilteredShard(document_shard=shard, filters=filters)
        for shard in document_shards(document_folders)
    ]
    components = components_of([verified_folder], exchange)
    outcomes = _outcomes_by_shard(filtered_shards, components, exchange)
    num_shards = len(filtered_shards)
    partitions = range_of_indices(np.arange(num_shards), len(outcomes), num_shards).tolist()
    groups: list[list[tuple[int, FilteredShard]]] = [[] for _ in outcomes]
    for index, (partition, shard) in enumerate(zip(partitions, filtered_shards, strict=True)):
        groups[partition].append((index, shard))
    tables = exchange.gather(
        exchange.map_shards(
            _put_shards, groups, outcomes, schema=_COUNT, folder=folder, components=components
        )
    )
    counts = _summed(pa.concat_tables([_COUNT.empty_table(), *tables]))
    _put_repositories(folder, counts)
    num_documents = {
        kind: pc.sum(counts.filter(pc.equal(counts["kind"], kind))["num_documents"], min_count=0)
        for kind in ("canonical", "exact", "near")
    }
    return {
        "documents": pc.sum(counts["num_documents"], min_count=0).as_py(),
        "canonical": num_documents["canonical"].as_py(),
        "exact_duplicates": num_documents["exact"].as_py(),
        "near_duplicates": num_documents["near"].as_py(),
    }


def _outcomes_by_shard(
    filtered_shards: Sequence[FilteredShard], components: Components, exchange: Exchange
) -> Sequence[Partition]:
    """The outcomes of documents in clusters of several, by ranges of shards."""
    num_bytes = sum(shard.document_shard.num_rows for shard in filtered_shards) * _DOCUMENT_BYTES
    num_partitions = exchange.num_partitions(num_bytes)
    documents = exchange.by_key(
        exchange.map_shards(
            _documents,
            range(len(filtered_shards)),
            filtered_shards,
            schema=_DOCUMENT,
            components=components,
        ),
        ranges_of("cluster"),
        num_partitions=num_partitions,
    )
    return exchange.by_key(
        exchange.map_shards(
            _outcomes,
            documents,
            schema=_OUTCOME,
            num_partitions=num_partitions,
            num_shards=len(filtered_shards),
        ),
        indices_in("partition"),
        num_partitions=num_partitions,
    )


def _documents(index: int, shard: FilteredShard, *, components: Components) -> pa.Table:
    table = shard.read([*_CANONICAL_ORDER, "text_id"])
    texts = text_keys(table["text_id"])
    clusters = texts.copy()
    is_paired, indices = find_keys(components.keys, texts)
    clusters[is_paired] = components.roots[indices]
    shard_indices = np.full(len(texts), index)
    integer_columns = [
        pa.array(column) for column in (clusters, texts, shard_indices, np.arange(len(texts)))
    ]
    name_columns = [table[name] for name in _CANONICAL_ORDER]
    return pa.table([*integer_columns, *name_columns], schema=_DOCUMENT)


def _outcomes(documents: pa.Table, *, num_partitions: int, num_shards: int) -> pa.Table:
    """The outcome of each document of a partition whose cluster has several documents."""
    clusters = documents["cluster"].to_numpy()
    _, members, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    clustered = documents.filter(pa.array(sizes[members] > 1))
    clustered = clustered.sort_by(
        [("cluster", "ascending"), *((name, "ascending") for name in _CANONICAL_ORDER)]
    )
    clusters, texts = clustered["cluster"].to_numpy(), clustered["text"].to_numpy()
    kinds = np.full(len(texts), _EXACT, dtype=np.int8)
    _, firsts = np.unique(texts, return_index=True)
    kinds[firsts] = _NEAR
    _, firsts, members = np.unique(clusters, return_index=True, return_inverse=True)
    kinds[firsts] = _CANONICAL
    canonical_ids = clustered["document_id"].take(pa.array(firsts[members]))
    partitions = range_of_indices(clustered["shard"].to_numpy(), num_partitions, num_shards)
    columns = [
        pa.array(partitions),
        clustered["shard"],
        clustered["row"],
        canonical_ids,
        pa.array(kinds),
    ]
    return pa.table(columns, schema=_OUTCOME)


def _put_shards(
    shards_of_partition: Sequence[tuple[int, FilteredShard]],
    outcomes: pa.Table,
    *,
    folder: str,
    components: Components,
) -> pa.Table:
    """Write the shards of `clusters` of a partition; return the counts."""
    ordered = outcomes.take(
        pa.array(np.lexsort((outcomes["row"].to_numpy(), outcomes["shard"].to_numpy())))
    )
    shard_indices = ordered["shard"].to_numpy()
    counts = [_COUNT.empty_table()]
    for index, shard in shards_of_partition:
        first, last = np.searchsorted(shard_indices, [index, index + 1]).tolist()
        counts.append(
            _put_shard(folder, index, shard, ordered.slice(first, last - first), components)
        )
    return _summed(pa.concat_tables(counts))


def _put_shard(
    folder: str,
    index: int,
    shard: FilteredShard,
    outcomes: pa.Table,
    components: Components,
) -> pa.Table:
    """Write a shard of `clusters`; documents without an outcome form clusters of their own."""
    table = shard.read(["document_id", "text_id", "source", "repository", "num_bytes"])
    rows = outcomes["row"].to_numpy()
    kinds = np.full(table.num_rows, _CANONICAL, dtype=np.int8)
    kinds[rows] = outcomes["kind"].to_numpy()
    is_clustered = np.zeros(table.num_rows, dtype=np.bool_)
    is_clustered[rows] = True
    cluster_ids = pc.replace_with_mask(
        table["document_id"].combine_chunks(),
        pa.array(is_clustered),
        outcomes["cluster_id"].combine_chunks(),
    )
    is_paired, indices = find_keys(components.keys, text_keys(table["text_id"]))
    jaccards = np.ones(table.num_rows)
    jaccards[is_paired] = components.jaccards[indices]
    jaccards[kinds == _EXACT] = 1.0
    kind_column = _KINDS.take(pa.array(kinds))
    columns = [
        table["document_id"],
        table["text_id"],
        cluster_ids,
        pa.array(kinds == _CANONICAL),
        kind_column,
        pa.array(jaccards, mask=~is_paired & (kinds != _EXACT)),
    ]
    shards.put_table(
        folder,
        "clusters",
        index,
        pa.table(columns, schema=DUPLICATE_CLUSTER),
        DUPLICATE_CLUSTER,
        stats=shard.document_shard.co_partition_stats,
    )
    languages = pa.repeat(pa.scalar(shard.document_shard.language, pa.string()), table.num_rows)
    count_columns = [
        table["source"],
        table["repository"],
        languages,
        pc.fill_null(kind_column, "canonical"),
        pa.repeat(1, table.num_rows),
        table["num_bytes"],
    ]
    return _summed(pa.table(count_columns, schema=_COUNT))


def _summed(counts: pa.Table) -> pa.Table:
    """Counts with a row for each source, repository, language and kind."""
    sums = counts.group_by(_COUNT_KEYS, use_threads=False).aggregate(
        [("num_documents", "sum"), ("num_bytes", "sum")]
    )
    columns = [
        *(sums[name] for name in _COUNT_KEYS),
        sums["num_documents_sum"],
        sums["num_bytes_sum"],
    ]
    return pa.table(columns, schema=_COUNT)


def _put_repositories(folder: str, counts: pa.Table) -> None:
    canonical = counts.filter(pc.equal(counts["kind"], "canonical"))
    canonical = canonical.sort_by([(name, "ascending") for name in _COUNT_KEYS[:3]])
    columns = [*(canonical[name] for name in _COUNT_KEYS[:3]), canonical["num_documents"]]
    table = pa.table([*columns, canonical["num_bytes"]], schema=REPOSITORY)
    shards.put_table(folder, "repositories", 0, table, REPOSITORY)
