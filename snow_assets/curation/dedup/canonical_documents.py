"""Assign a cluster and its canonical document to each document, from verified pairs.

A cluster is a connected component of exact and verified near duplicates; its canonical document
(the stored `survivor`) has the smallest (repository, path, document_id). Documents are partitioned
on disk by cluster and the outcomes by shard: memory does not grow with the corpus.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.dedup.connected_components import connected_components
from snow_assets.curation.dedup.text_keys import TextKeys, text_keys
from snow_assets.curation.dedup.verification import VerifiedPairs
from snow_assets.curation.document_shards import DocumentShard
from snow_assets.curation.spill import Spill, num_parts, part_of
from snow_assets.storage import shards
from snow_assets.storage.schemas import DUPLICATE_CLUSTER

REPOSITORY = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("num_survivors", pa.int64(), nullable=False),
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
    [("shard", pa.int64()), ("row", pa.int64()), ("cluster_id", pa.string()), ("kind", pa.int8())]
)
_DOCUMENT_BYTES = 300  # approximate, with repository, path and id


@dataclass(frozen=True, kw_only=True)
class FilteredShard:
    """A shard of documents, and the mask of its rows that pass the filters."""

    document_shard: DocumentShard
    rows: npt.NDArray[np.bool_]

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.document_shard.read(columns).filter(pa.array(self.rows))


@dataclass(frozen=True)
class _Clusters:
    """Clusters of the texts in verified pairs. Memory: 24 bytes per text."""

    keys: TextKeys
    cluster_keys: TextKeys  # the smallest key of the cluster of each text
    max_jaccards: npt.NDArray[np.float64]

    @classmethod
    def of(cls, pairs: VerifiedPairs) -> "_Clusters":
        indices, endpoints = np.unique(
            np.concatenate([pairs.left, pairs.right]), return_inverse=True
        )
        left, right = np.split(endpoints, 2)
        max_jaccards = np.zeros(len(indices))
        for endpoint in (left, right):
            np.maximum.at(max_jaccards, endpoint, pairs.jaccards)
        keys = pairs.keys[indices]
        return cls(keys, keys[connected_components(left, right, len(keys))], max_jaccards)

    def find(self, texts: TextKeys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """A mask of the texts that are in a pair, and their indices in `keys`."""
        indices = np.searchsorted(self.keys, texts)
        indices[indices == len(self.keys)] = 0
        is_paired = (
            self.keys[indices] == texts if len(self.keys) else np.zeros(len(texts), np.bool_)
        )
        return is_paired, indices[is_paired]


@dataclass
class _Counts:
    kinds: Counter[str] = field(default_factory=Counter)
    canonical_documents: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    canonical_bytes: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def put_clusters(
    folder: str, filtered_shards: Sequence[FilteredShard], pairs: VerifiedPairs
) -> dict[str, Any]:
    """Write `clusters`, co-partitioned with the documents, and `repositories`; return the stats."""
    clusters = _Clusters.of(pairs)
    counts = _Counts()
    parts = num_parts(sum(len(shard.rows) for shard in filtered_shards), _DOCUMENT_BYTES)
    with Spill(_DOCUMENT, parts) as documents, Spill(_OUTCOME, parts) as outcomes:
        for index, shard in enumerate(filtered_shards):
            table = _documents(index, shard, clusters)
            documents.add(table, part_of(table["cluster"].to_numpy(), parts))
        for part in documents.parts():
            part_outcomes = _outcomes(part)
            outcomes.add(
                part_outcomes,
                part_outcomes["shard"].to_numpy() * parts // max(1, len(filtered_shards)),
            )
        index = 0
        for part_index, part in enumerate(outcomes.parts()):
            ordered = part.take(np.lexsort((part["row"].to_numpy(), part["shard"].to_numpy())))
            while (
                index < len(filtered_shards) and index * parts // len(filtered_shards) == part_index
            ):
                first, last = np.searchsorted(ordered["shard"].to_numpy(), [index, index + 1])
                shard_outcomes = ordered.slice(first, last - first)
                _put_clusters_shard(
                    folder, index, filtered_shards[index], shard_outcomes, clusters, counts
                )
                index += 1
    repositories = [
        {
            "source": source,
            "repository": repository,
            "language": language,
            "num_survivors": count,
            "num_bytes": counts.canonical_bytes[source, repository, language],
        }
        for (source, repository, language), count in sorted(counts.canonical_documents.items())
    ]
    shards.put_table(folder, "repositories", 0, repositories, REPOSITORY)
    return {
        "documents": counts.kinds.total(),
        "survivors": counts.kinds["survivors"],
        "exact_duplicates": counts.kinds["exact"],
        "near_duplicates": counts.kinds["near"],
    }


def _documents(index: int, shard: FilteredShard, clusters: _Clusters) -> pa.Table:
    table = shard.read([*_CANONICAL_ORDER, "text_id"])
    texts = text_keys(table["text_id"])
    cluster_keys = texts.copy()
    is_paired, indices = clusters.find(texts)
    cluster_keys[is_paired] = clusters.cluster_keys[indices]
    shard_indices = np.full(len(texts), index)
    integer_columns = [
        pa.array(column) for column in (cluster_keys, texts, shard_indices, np.arange(len(texts)))
    ]
    name_columns = [table[name].combine_chunks() for name in _CANONICAL_ORDER]
    return pa.table([*integer_columns, *name_columns], schema=_DOCUMENT)


def _outcomes(documents: pa.Table) -> pa.Table:
    """The outcome of each document of a part whose cluster has several documents."""
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
    canonical_ids = clustered["document_id"].take(firsts[members])
    columns = [clustered["shard"], clustered["row"], canonical_ids, pa.array(kinds)]
    return pa.table(columns, schema=_OUTCOME)


def _put_clusters_shard(
    folder: str,
    index: int,
    shard: FilteredShard,
    outcomes: pa.Table,
    clusters: _Clusters,
    counts: _Counts,
) -> None:
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
    is_paired, indices = clusters.find(text_keys(table["text_id"]))
    jaccards = np.ones(table.num_rows)
    jaccards[is_paired] = clusters.max_jaccards[indices]
    jaccards[kinds == _EXACT] = 1.0
    is_canonical = kinds == _CANONICAL
    columns = [
        table["document_id"],
        table["text_id"],
        cluster_ids,
        pa.array(is_canonical),
        _KINDS.take(pa.array(kinds)),
        pa.array(jaccards, mask=~is_paired & (kinds != _EXACT)),
    ]
    output = pa.table(columns, schema=DUPLICATE_CLUSTER)
    shards.put_table(
        folder,
        "clusters",
        index,
        output,
        DUPLICATE_CLUSTER,
        stats=shard.document_shard.co_partition_stats,
    )
    for kind, name in ((_CANONICAL, "survivors"), (_NEAR, "near"), (_EXACT, "exact")):
        counts.kinds[name] += int((kinds == kind).sum())
    canonical = table.filter(pa.array(is_canonical)).group_by(["source", "repository"])
    for row in canonical.aggregate([("num_bytes", "sum"), ("num_bytes", "count")]).to_pylist():
        repository_key = row["source"], row["repository"], shard.document_shard.language
        counts.canonical_documents[repository_key] += row["num_bytes_count"]
        counts.canonical_bytes[repository_key] += row["num_bytes_sum"]
