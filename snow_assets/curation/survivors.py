"""Verified pairs in; a cluster and its survivor for each document, out.

Memory: an id per distinct text, and the rows of one shard.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.clusters import connected
from snow_assets.curation.document_shards import DocumentShard
from snow_assets.documents import DUPLICATE_CLUSTER

REPOSITORY = pa.schema(
    [
        pa.field("repository", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("num_survivors", pa.int64(), nullable=False),
    ]
)
"""Table `repositories` of `near_duplicates`: what the split chooses from."""


class _Document(NamedTuple):
    """In the order in which documents survive."""

    repository: str
    path: str
    document_id: str


def put_clusters(
    folder: str, sources: Sequence[DocumentShard], pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write `clusters` and `repositories`; return their facts.

    Reads the shards of `signatures` in the folder for which documents reached deduplication.
    """
    groups = _groups(pairs)
    nearest: dict[str, float] = {}
    for pair in pairs:
        for text_id in (pair["text_id"], pair["other_text_id"]):
            nearest[text_id] = max(pair["jaccard"], nearest.get(text_id, 0.0))
    firsts: dict[str, _Document] = {}  # of each text
    survivors: dict[str, _Document] = {}  # of each group
    for index, source in enumerate(sources):
        for document, text_id in _reached(folder, index, source):
            firsts[text_id] = min(document, firsts.get(text_id, document))
            group = groups.get(text_id, text_id)
            survivors[group] = min(document, survivors.get(group, document))
    counts: Counter[str] = Counter()
    alive: Counter[tuple[str, str]] = Counter()
    for index, source in enumerate(sources):
        rows = []
        for document, text_id in _reached(folder, index, source):
            survivor = survivors[groups.get(text_id, text_id)]
            kind = None
            if document != survivor:
                kind = "near" if document == firsts[text_id] else "exact"
            else:
                alive[document.repository, source.language] += 1
            rows.append(
                {
                    "document_id": document.document_id,
                    "text_id": text_id,
                    "cluster_id": survivor.document_id,
                    "is_survivor": kind is None,
                    "kind": kind,
                    "jaccard": 1.0 if kind == "exact" else nearest.get(text_id),
                }
            )
            counts[kind or "survivors"] += 1
        shards.put_table(folder, "clusters", index, rows, DUPLICATE_CLUSTER, facts=source.beside)
    repositories = [
        {"repository": repository, "language": language, "num_survivors": count}
        for (repository, language), count in sorted(alive.items())
    ]
    shards.put_table(folder, "repositories", 0, repositories, REPOSITORY)
    return {
        "documents": counts.total(),
        "survivors": counts["survivors"],
        "exact_duplicates": counts["exact"],
        "near_duplicates": counts["near"],
    }


def _groups(pairs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Every text of a pair -> one text of its cluster."""
    text_ids = sorted({pair[end] for pair in pairs for end in ("text_id", "other_text_id")})
    places = {text_id: place for place, text_id in enumerate(text_ids)}
    found = connected((places[pair["text_id"]], places[pair["other_text_id"]]) for pair in pairs)
    return {text_ids[place]: text_ids[group] for place, group in found.items()}


def _reached(folder: str, index: int, source: DocumentShard) -> Iterator[tuple[_Document, str]]:
    """The documents of a shard that reached deduplication, with their texts' ids."""
    signed = shards.read_shard(
        folder, shards.table_name("signatures", index), columns=["document_id"]
    )
    documents = source.read(["repository", "path", "document_id", "text_id"])
    value_set = signed["document_id"].combine_chunks()
    reached = documents.filter(pc.is_in(documents["document_id"], value_set))
    for batch in reached.to_batches(max_chunksize=4096):
        columns = [batch[name].to_pylist() for name in documents.column_names]
        for repository, path, document_id, text_id in zip(*columns, strict=True):
            yield _Document(repository, path, document_id), text_id
