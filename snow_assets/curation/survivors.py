"""Verified pairs in; a cluster and its survivor for each document, out.

A cluster is what exact copies and verified pairs connect; its survivor is the document with the
smallest (repository, path, document_id). Documents meet on disk, in parts by cluster, and their
outcomes go back in parts by shard: memory does not grow with the corpus.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.clusters import connected
from snow_assets.curation.document_shards import DocumentShard
from snow_assets.curation.spill import Spill, part_of, parts_for
from snow_assets.curation.text_keys import TextKeys, text_keys
from snow_assets.curation.verification import Verified
from snow_assets.documents import DUPLICATE_CLUSTER

REPOSITORY = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("num_survivors", pa.int64(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),  # of the survivors' texts
    ]
)
"""Table `repositories` of `near_duplicates`: what the split chooses from."""

_NAMES = ["repository", "path", "document_id"]  # in this order documents survive
_KINDS = pa.array([None, "near", "exact"], pa.string())
_SURVIVOR, _NEAR, _EXACT = range(3)

_DOCUMENT = pa.schema(
    [("cluster", pa.uint64()), ("text", pa.uint64()), ("shard", pa.int64()), ("row", pa.int64())]
    + [(name, pa.string()) for name in _NAMES]
)
_OUTCOME = pa.schema(
    [("shard", pa.int64()), ("row", pa.int64()), ("cluster_id", pa.string()), ("kind", pa.int8())]
)
_DOCUMENT_BYTES = 300  # about, with its names


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A shard of documents, and which of its rows reached deduplication."""

    source: DocumentShard
    rows: npt.NDArray[np.bool_]

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.source.read(columns).filter(pa.array(self.rows))


@dataclass(frozen=True)
class _Clusters:
    """Which texts pairs connect: 24 bytes per text in a verified pair."""

    keys: TextKeys
    groups: TextKeys  # the smallest key of each one's cluster
    nearest: npt.NDArray[np.float64]

    @classmethod
    def of(cls, pairs: Verified) -> "_Clusters":
        places, both = np.unique(np.concatenate([pairs.ones, pairs.others]), return_inverse=True)
        ones, others = np.split(both, 2)
        nearest = np.zeros(len(places))
        for side in (ones, others):
            np.maximum.at(nearest, side, pairs.jaccards)
        keys = pairs.keys[places]
        return cls(keys, keys[connected(ones, others, len(keys))], nearest)

    def find(self, texts: TextKeys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Which texts are in a pair, and the place of those."""
        places = np.searchsorted(self.keys, texts)
        places[places == len(self.keys)] = 0
        found = self.keys[places] == texts if len(self.keys) else np.zeros(len(texts), np.bool_)
        return found, places[found]


@dataclass
class _Counts:
    kinds: Counter[str] = field(default_factory=Counter)
    survivors: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    survivor_bytes: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def put_clusters(folder: str, reached: Sequence[Reached], pairs: Verified) -> dict[str, Any]:
    """Write `clusters`, a shard beside each shard of documents, and `repositories`; the facts."""
    clusters = _Clusters.of(pairs)
    counts = _Counts()
    parts = parts_for(sum(len(shard.rows) for shard in reached), _DOCUMENT_BYTES)
    with Spill(_DOCUMENT, parts) as documents, Spill(_OUTCOME, parts) as outcomes:
        for index, shard in enumerate(reached):
            table = _documents(index, shard, clusters)
            documents.add(table, part_of(table["cluster"].to_numpy(), parts))
        for part in documents.parts():
            found = _outcomes(part)
            outcomes.add(found, found["shard"].to_numpy() * parts // max(1, len(reached)))
        index = 0
        for part_index, part in enumerate(outcomes.parts()):
            ordered = part.take(np.lexsort((part["row"].to_numpy(), part["shard"].to_numpy())))
            while index < len(reached) and index * parts // len(reached) == part_index:
                first, last = np.searchsorted(ordered["shard"].to_numpy(), [index, index + 1])
                here = ordered.slice(first, last - first)
                _put_shard(folder, index, reached[index], here, clusters, counts)
                index += 1
    repositories = [
        {
            "source": source,
            "repository": repository,
            "language": language,
            "num_survivors": count,
            "num_bytes": counts.survivor_bytes[source, repository, language],
        }
        for (source, repository, language), count in sorted(counts.survivors.items())
    ]
    shards.put_table(folder, "repositories", 0, repositories, REPOSITORY)
    return {
        "documents": counts.kinds.total(),
        "survivors": counts.kinds["survivors"],
        "exact_duplicates": counts.kinds["exact"],
        "near_duplicates": counts.kinds["near"],
    }


def _documents(index: int, shard: Reached, clusters: _Clusters) -> pa.Table:
    table = shard.read([*_NAMES, "text_id"])
    texts = text_keys(table["text_id"])
    groups = texts.copy()
    found, places = clusters.find(texts)
    groups[found] = clusters.groups[places]
    shard_numbers = np.full(len(texts), index)
    numbers = [pa.array(column) for column in (groups, texts, shard_numbers, np.arange(len(texts)))]
    names = [table[name].combine_chunks() for name in _NAMES]
    return pa.table([*numbers, *names], schema=_DOCUMENT)


def _outcomes(documents: pa.Table) -> pa.Table:
    """What becomes of those documents of a part that are not alone in their cluster."""
    clusters = documents["cluster"].to_numpy()
    _, members, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    crowded = documents.filter(pa.array(sizes[members] > 1))
    crowded = crowded.sort_by([("cluster", "ascending"), *((name, "ascending") for name in _NAMES)])
    clusters, texts = crowded["cluster"].to_numpy(), crowded["text"].to_numpy()
    kinds = np.full(len(texts), _EXACT, dtype=np.int8)
    _, firsts = np.unique(texts, return_index=True)
    kinds[firsts] = _NEAR
    _, firsts, members = np.unique(clusters, return_index=True, return_inverse=True)
    kinds[firsts] = _SURVIVOR
    survivors = crowded["document_id"].take(firsts[members])
    columns = [crowded["shard"], crowded["row"], survivors, pa.array(kinds)]
    return pa.table(columns, schema=_OUTCOME)


def _put_shard(
    folder: str,
    index: int,
    shard: Reached,
    outcomes: pa.Table,
    clusters: _Clusters,
    counts: _Counts,
) -> None:
    """Documents without an outcome are alone, and so survive."""
    table = shard.read(["document_id", "text_id", "source", "repository", "num_bytes"])
    rows = outcomes["row"].to_numpy()
    kinds = np.full(table.num_rows, _SURVIVOR, dtype=np.int8)
    kinds[rows] = outcomes["kind"].to_numpy()
    is_crowded = np.zeros(table.num_rows, dtype=np.bool_)
    is_crowded[rows] = True
    cluster_ids = pc.replace_with_mask(
        table["document_id"].combine_chunks(),
        pa.array(is_crowded),
        outcomes["cluster_id"].combine_chunks(),
    )
    found, places = clusters.find(text_keys(table["text_id"]))
    jaccards = np.ones(table.num_rows)
    jaccards[found] = clusters.nearest[places]
    jaccards[kinds == _EXACT] = 1.0
    is_survivor = kinds == _SURVIVOR
    columns = [
        table["document_id"],
        table["text_id"],
        cluster_ids,
        pa.array(is_survivor),
        _KINDS.take(pa.array(kinds)),
        pa.array(jaccards, mask=~found & (kinds != _EXACT)),
    ]
    made = pa.table(columns, schema=DUPLICATE_CLUSTER)
    shards.put_table(folder, "clusters", index, made, DUPLICATE_CLUSTER, facts=shard.source.beside)
    for kind, name in ((_SURVIVOR, "survivors"), (_NEAR, "near"), (_EXACT, "exact")):
        counts.kinds[name] += int((kinds == kind).sum())
    survivors = table.filter(pa.array(is_survivor)).group_by(["source", "repository"])
    for row in survivors.aggregate([("num_bytes", "sum"), ("num_bytes", "count")]).to_pylist():
        place = row["source"], row["repository"], shard.source.language
        counts.survivors[place] += row["num_bytes_count"]
        counts.survivor_bytes[place] += row["num_bytes_sum"]
