"""Copies and near copies among all documents that pass the rules; one of each cluster survives.

Exact copies share a `text_id`. Near copies are found by MinHash in bands (Broder 1997; Leskovec,
Rajaraman, Ullman, chapter 3), and a candidate pair counts only if the real Jaccard similarity of
its shingles says so. A cluster is what verified pairs connect; its survivor is the document with
the smallest (repository, path, document_id). The result does not depend on the documents' order.

Memory: eight bytes per document and band, its candidate pairs, the shingles of a batch of
candidates, and an id per text and document; never the corpus.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.clusters import connected
from snow_assets.curation.document_shards import DocumentShard, document_shards
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.rules import COLUMNS, rule_reasons
from snow_assets.curation.shingles import band_hashes, jaccard, shingles
from snow_assets.curation.survivors import put_clusters
from snow_assets.documents import DUPLICATE_PAIR
from snow_assets.recipe import NearDuplicatesRecipe, RulesRecipe

# In a band's bucket of m texts all pairs are m^2: beyond this many, each text is compared with the
# bucket's first ones and its neighbour only, which connects whatever is alike throughout.
_ALL_PAIRS = 64
_FIRST_ONES = 8
_BATCH_SHINGLES = 20_000_000  # 160 MB

Pair = tuple[int, int]


def find_near_duplicates(
    document_folders: Sequence[str],
    folder: str,
    *,
    rules: RulesRecipe,
    recipe: NearDuplicatesRecipe,
) -> dict[str, Any]:
    """Write `signatures`, `pairs`, `clusters` and `repositories`; return the facts.

    A shard of signatures or clusters stands beside each shard of documents; a signature shard
    that is there is not made again.
    """
    sources = document_shards(document_folders)
    for index, source in enumerate(sources):
        if shards.record(folder, shards.table_name("signatures", index)) is None:
            _put_signatures(folder, index, source, rules, recipe)
    text_ids, bands, homes = _distinct(folder, sources, recipe.bands)
    candidates = sorted(_candidates(bands))
    scores = _verified(candidates, text_ids, homes, sources, recipe)
    pairs = [
        {"text_id": text_ids[one], "other_text_id": text_ids[other], "jaccard": score}
        for (one, other), score in sorted(scores.items())
    ]
    shards.put_table(folder, "pairs", 0, pairs, DUPLICATE_PAIR)
    return {
        "texts": len(text_ids),
        "candidate_pairs": len(candidates),
        "verified_pairs": len(pairs),
        **put_clusters(folder, sources, pairs),
    }


def _put_signatures(
    folder: str,
    index: int,
    source: DocumentShard,
    rules: RulesRecipe,
    recipe: NearDuplicatesRecipe,
) -> None:
    schema = pa.schema(
        [
            pa.field("document_id", pa.string(), nullable=False),
            pa.field("text_id", pa.string(), nullable=False),
            pa.field(
                "bands", pa.list_(pa.uint64(), recipe.bands)
            ),  # null: no words, so no near copy
        ]
    )
    documents = source.read(sorted({*COLUMNS, "document_id", "text_id", "text"}))
    passing = documents.filter(
        pa.array([reason is None for reason in rule_reasons(documents, rules)], pa.bool_())
    )
    rows = []
    for document_id, text_id, text in _texts(passing):
        found = shingles(text, words=recipe.shingle_words)
        bands = None
        if len(found):
            hashes = band_hashes(found, bands=recipe.bands, rows_per_band=recipe.rows_per_band)
            bands = hashes.tolist()
        rows.append({"document_id": document_id, "text_id": text_id, "bands": bands})
    shards.put_table(folder, "signatures", index, rows, schema, facts=source.beside)


def _texts(documents: pa.Table) -> Iterator[tuple[str, str, str]]:
    """Document, text id and text, row by row."""
    columns = ["document_id", "text_id", "text"]
    for batch in documents.select(columns).to_batches(max_chunksize=256):
        yield from zip(*(batch[name].to_pylist() for name in columns), strict=True)


def _distinct(
    folder: str, sources: Sequence[DocumentShard], bands: int
) -> tuple[list[str], Hashes, list[int]]:
    """The distinct texts in order of their ids, a row of band hashes each, and a shard of each.

    A text without bands is not among them: it has no near copies.
    """
    ids: list[npt.NDArray[np.bytes_]] = [np.zeros(0, dtype="S64")]
    hashes: list[Hashes] = [np.zeros((0, bands), dtype=np.uint64)]
    homes: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    for index in range(len(sources)):
        table = shards.read_shard(folder, shards.table_name("signatures", index))
        table = table.filter(pc.is_valid(table["bands"]))
        values = pc.list_flatten(table["bands"]).to_numpy()
        ids.append(np.array(table["text_id"].to_pylist(), dtype="S64"))
        hashes.append(values.reshape(table.num_rows, bands))
        homes.append(np.full(table.num_rows, index))
    distinct, firsts = np.unique(np.concatenate(ids), return_index=True)
    return (
        [text_id.decode() for text_id in distinct.tolist()],
        np.concatenate(hashes)[firsts],
        np.concatenate(homes)[firsts].tolist(),
    )


def _candidates(bands: Hashes) -> set[Pair]:
    """Pairs of rows that agree in a band."""
    found: set[Pair] = set()
    for column in bands.T:
        order = np.argsort(column, kind="stable")
        cuts = np.flatnonzero(np.diff(column[order])) + 1
        for bucket in np.split(order, cuts):
            if len(bucket) > 1:
                found.update(_bucket_pairs(bucket.tolist()))
    return found


def _bucket_pairs(members: Sequence[int]) -> Iterator[Pair]:
    if len(members) <= _ALL_PAIRS:
        for place, one in enumerate(members):
            yield from ((one, other) for other in members[place + 1 :])
        return
    for place, one in enumerate(members[:_FIRST_ONES]):
        yield from ((one, other) for other in members[place + 1 :])
    yield from pairwise(members)


def _verified(
    candidates: Sequence[Pair],
    text_ids: Sequence[str],
    homes: Sequence[int],
    sources: Sequence[DocumentShard],
    recipe: NearDuplicatesRecipe,
) -> dict[Pair, float]:
    """The pairs whose real Jaccard similarity is high enough; texts are read again for them."""
    scores: dict[Pair, float] = {}
    for batch in _batches(candidates, connected(candidates), homes):
        members = {place for pair in batch for place in pair}
        held = _shingles_of(members, text_ids, homes, sources, recipe.shingle_words)
        for one, other in batch:
            score = jaccard(held[one], held[other])
            if score >= recipe.min_jaccard:
                scores[one, other] = score
    return scores


def _batches(
    candidates: Iterable[Pair],
    groups: Mapping[int, int],
    homes: Sequence[int],
) -> Iterator[list[Pair]]:
    """Candidate pairs in groups that share no text, as many as fit in memory, at least one."""
    by_group: dict[int, list[Pair]] = {}
    for pair in candidates:
        by_group.setdefault(groups[pair[0]], []).append(pair)
    batch: list[Pair] = []
    size = 0
    # Groups that lie in the same shards come together, so that each shard is read seldom.
    for group in sorted(by_group, key=lambda name: (homes[name], name)):
        members = {place for pair in by_group[group] for place in pair}
        # About a shingle per 10 bytes of code; an average text of its shard.
        needed = len(members) * 2_000
        if batch and size + needed > _BATCH_SHINGLES:
            yield batch
            batch, size = [], 0
        batch += by_group[group]
        size += needed
    if batch:
        yield batch


def _shingles_of(
    members: Iterable[int],
    text_ids: Sequence[str],
    homes: Sequence[int],
    sources: Sequence[DocumentShard],
    words: int,
) -> dict[int, Hashes]:
    by_shard: dict[int, dict[str, int]] = {}
    for place in members:
        by_shard.setdefault(homes[place], {})[text_ids[place]] = place
    found: dict[int, Hashes] = {}
    for index, wanted in sorted(by_shard.items()):
        table = sources[index].read(["document_id", "text_id", "text"])
        chosen = table.filter(pc.is_in(table["text_id"], pa.array(list(wanted), pa.string())))
        for _, text_id, text in _texts(chosen):
            if wanted[text_id] not in found:
                found[wanted[text_id]] = shingles(text, words=words)
    return found
