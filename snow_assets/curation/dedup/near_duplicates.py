"""Exact and near deduplication of all documents that pass the filters.

Exact duplicates share a `text_id`. Near duplicates are candidate pairs of banded MinHash (Broder
1997; Leskovec, Rajaraman, Ullman, chapter 3) whose exact Jaccard similarity of shingles reaches the
threshold. A cluster is a connected component of exact duplicates and verified pairs; one document
of it is kept, see `canonical_documents`.

The inputs are stored signatures and the documents' columns without text, so a new source costs its
own signatures (see `signatures`) and the comparison. The result does not depend on the order of
documents or sources, and equals that of a full run.

Memory: a shard and a part of each spill; a bit per document; 8 bytes per document that fails the
filters; about 130 bytes per text in a candidate pair, and 32 per pair.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from snow_assets.curation.dedup.candidates import candidate_pairs
from snow_assets.curation.dedup.canonical_documents import FilteredShard, put_clusters
from snow_assets.curation.dedup.signatures import bands_in
from snow_assets.curation.dedup.text_keys import TextKeys, as_ids, text_keys
from snow_assets.curation.dedup.verification import SignatureShard, VerifiedPairs, verify_pairs
from snow_assets.curation.document_shards import DocumentShard, co_partitioned, document_shards
from snow_assets.curation.filters.heuristics import COLUMNS, passing_rows
from snow_assets.curation.hashing import Hashes
from snow_assets.recipe import FiltersRecipe, NearDuplicatesRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import DUPLICATE_PAIR

_PAIRS_PER_SHARD = 500_000


def find_near_duplicates(
    document_folders: Sequence[str],
    signature_folders: Sequence[str],
    folder: str,
    *,
    filters: FiltersRecipe,
    recipe: NearDuplicatesRecipe,
) -> dict[str, Any]:
    """Write `pairs`, `clusters` and `repositories`; return the stats.

    `clusters` is co-partitioned with the documents.
    """
    input_shards = document_shards(document_folders)
    filtered_shards, filtered_texts = _apply_filters(input_shards, filters)
    signature_shards = _signature_shards(input_shards, signature_folders)
    num_texts = sum(
        shards.manifest(signature_folder).num_rows("signatures")
        for signature_folder in signature_folders
    )
    candidates = candidate_pairs(
        _signatures(signature_shards, filtered_texts), num_texts=num_texts, bands=recipe.bands
    )
    pairs = verify_pairs(candidates, signature_shards, min_jaccard=recipe.min_jaccard)
    _put_pairs(folder, pairs)
    return {
        "candidate_pairs": len(candidates.left),
        "verified_pairs": len(pairs.jaccards),
        **put_clusters(folder, filtered_shards, pairs),
    }


def _apply_filters(
    input_shards: Sequence[DocumentShard], filters: FiltersRecipe
) -> tuple[list[FilteredShard], TextKeys]:
    """The documents that pass the filters, and the ascending keys of texts of which none passes.

    A text may pass in one file and fail in another, because filters depend on the language.
    """
    filtered_shards = []
    filtered_keys = [np.zeros(0, dtype=np.uint64)]
    for input_shard in input_shards:
        documents = input_shard.read([*COLUMNS, "text_id"])
        rows = passing_rows(documents, input_shard.language, filters)
        filtered_shards.append(FilteredShard(document_shard=input_shard, rows=rows))
        filtered_keys.append(text_keys(documents["text_id"].filter(pa.array(~rows))))
    filtered_texts = np.unique(np.concatenate(filtered_keys))
    for shard in filtered_shards if len(filtered_texts) else []:
        passing_keys = text_keys(shard.read(["text_id"])["text_id"])
        filtered_texts = filtered_texts[~np.isin(filtered_texts, passing_keys)]
    return filtered_shards, filtered_texts


def _signature_shards(
    input_shards: Sequence[DocumentShard], signature_folders: Sequence[str]
) -> list[SignatureShard]:
    signature_shards = co_partitioned(signature_folders, "signatures")
    for input_shard in input_shards:
        if input_shard.key not in signature_shards:
            raise ValueError(
                f"{input_shard.key} has no signatures: its source has changed, materialize "
                "signatures again"
            )
    return [SignatureShard(*signature_shards[input_shard.key]) for input_shard in input_shards]


def _signatures(
    signature_shards: Sequence[SignatureShard], filtered_texts: TextKeys
) -> Iterator[tuple[TextKeys, Hashes]]:
    """Keys and bands of the texts that pass the filters and have shingles, shard by shard."""
    for shard in signature_shards:
        table = shard.read(["text_id", "num_shingles", "bands"])
        keys = text_keys(table["text_id"])
        is_included = np.isin(keys, filtered_texts, invert=True) & (
            table["num_shingles"].to_numpy() > 0
        )
        yield keys[is_included], bands_in(table["bands"])[is_included]


def _put_pairs(folder: str, pairs: VerifiedPairs) -> None:
    for index, start in enumerate(range(0, max(1, len(pairs.jaccards)), _PAIRS_PER_SHARD)):
        rows = slice(start, start + _PAIRS_PER_SHARD)
        columns = [
            as_ids(pairs.ids[pairs.left[rows]]),
            as_ids(pairs.ids[pairs.right[rows]]),
            pa.array(pairs.jaccards[rows]),
        ]
        shards.put_table(
            folder, "pairs", index, pa.table(columns, schema=DUPLICATE_PAIR), DUPLICATE_PAIR
        )
