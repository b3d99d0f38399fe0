"""Candidate pairs of near deduplication: texts whose MinHash signatures share a band (LSH).

Bands are exchanged and sorted one partition at a time: memory does not grow with the corpus.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.dedup.filtered_shards import filtered_texts
from snow_assets.curation.dedup.signatures import SignatureShard, bands_in, signature_shards
from snow_assets.curation.dedup.text_keys import TextKeys, find_keys, text_keys
from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.hashing import Hashes
from snow_assets.recipe import FiltersRecipe, NearDuplicatesRecipe
from snow_assets.runtime.exchange.contract import MAX_PARTITIONS, Exchange, Partition
from snow_assets.runtime.exchange.partitions import ranges_of
from snow_assets.runtime.exchange.shard_work import write_shards
from snow_assets.storage import shards

# A bucket of m texts has m^2 pairs. In larger buckets each text is paired only with the bucket's
# first texts (the pivots) and with its neighbour, which connects a set of similar texts.
_MAX_ALL_PAIRS = 64
_NUM_PIVOTS = 8

TABLE = "candidate_pairs"
CANDIDATE_PAIR = pa.schema(
    [
        pa.field("left", pa.uint64(), nullable=False),
        pa.field("right", pa.uint64(), nullable=False),
    ]
)
"""Distinct pairs of text keys, left < right, in order of right and left."""

_ENTRY = pa.schema([("band", pa.uint64()), ("text", pa.uint64())])
_ENTRY_BYTES = 16
_TEXTS_PER_SHARD = 250_000  # of pairs; their number does not depend on the executor


def find_candidate_pairs(
    document_folders: Sequence[str],
    signature_folders: Sequence[str],
    folder: str,
    *,
    filters: FiltersRecipe,
    recipe: NearDuplicatesRecipe,
    exchange: Exchange,
) -> dict[str, Any]:
    """Write `candidate_pairs` of the texts that pass the filters; return the stats.

    The pairs do not depend on the order of texts, documents and sources. Shards are ranges of
    `right`. Memory: a shard and a partition, and 8 bytes per text that fails the filters.
    """
    input_shards = document_shards(document_folders)
    filtered = filtered_texts(input_shards, filters, exchange)
    input_signatures = signature_shards(input_shards, signature_folders)
    num_texts = sum(shards.manifest(url).num_rows("signatures") for url in signature_folders)
    partitions = candidate_pairs(
        input_signatures,
        filtered,
        num_bands=num_texts * recipe.bands,
        num_shards=min(MAX_PARTITIONS, 1 + num_texts // _TEXTS_PER_SHARD),
        exchange=exchange,
    )
    write_shards(
        exchange,
        _put_shard,
        range(len(partitions)),
        partitions,
        unit="shards of candidate pairs",
        folder=folder,
    )
    num_pairs = shards.records(folder, TABLE).total("num_rows")
    return {"texts": num_texts, "filtered_texts": len(filtered), "candidate_pairs": num_pairs}


def candidate_pairs(
    input_signatures: Sequence[SignatureShard],
    filtered: TextKeys,
    *,
    num_bands: int,
    num_shards: int,
    exchange: Exchange,
) -> Sequence[Partition]:
    """Pairs of texts with at least one equal band, by ranges of `right`, in several copies."""
    entries = exchange.by_key(
        exchange.map_shards(_entries, input_signatures, schema=_ENTRY, filtered=filtered),
        ranges_of("band"),
        num_partitions=exchange.num_partitions(num_bands * _ENTRY_BYTES),
    )
    return exchange.by_key(
        exchange.map_shards(_pairs_in, entries, schema=CANDIDATE_PAIR),
        ranges_of("right"),
        num_partitions=num_shards,
    )


def _entries(shard: SignatureShard, *, filtered: TextKeys) -> pa.Table:
    """Band and text of the texts that pass the filters and have shingles; texts may repeat."""
    table = shard.read(["text_id", "num_shingles", "bands"])
    keys = text_keys(table["text_id"])
    is_filtered, _ = find_keys(filtered, keys)
    is_included = ~is_filtered & (table["num_shingles"].to_numpy() > 0)
    bands = bands_in(table["bands"])[is_included]
    texts = np.repeat(keys[is_included], bands.shape[1])
    return pa.table([pa.array(bands.reshape(-1)), pa.array(texts)], schema=_ENTRY)


def _pairs_in(entries: pa.Table) -> pa.Table:
    """The pairs of a partition of bands; another may hold the same pairs, from another band."""
    bands, texts = entries["band"].to_numpy(), entries["text"].to_numpy()
    order = np.argsort(bands)
    ordered = bands[order]
    same = ordered[1:] == ordered[:-1]
    del ordered
    is_shared = np.zeros(len(bands), dtype=np.bool_)
    is_shared[1:] |= same
    is_shared[:-1] |= same
    # Most buckets hold one text: sort only the texts of larger buckets.
    shared = order[is_shared]
    bands, texts = bands[shared], texts[shared]
    del order, shared
    by_text = np.lexsort((texts, bands))
    bands, texts = bands[by_text], texts[by_text]
    is_new = _is_new(bands, texts)
    bands, texts = bands[is_new], texts[is_new]
    bounds = np.flatnonzero(np.diff(bands)) + 1
    bounds = np.concatenate([[0], bounds, [len(bands)]])
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.dedup.minhash import distinct_pairs

    left, right = distinct_pairs(texts, bounds, _MAX_ALL_PAIRS, _NUM_PIVOTS)
    return pa.table([pa.array(left), pa.array(right)], schema=CANDIDATE_PAIR)


def sorted_distinct(pairs: pa.Table) -> pa.Table:
    """Pairs in order of right and left, without copies."""
    left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    order = np.lexsort((left, right))
    left, right = left[order], right[order]
    is_new = _is_new(left, right)
    return pa.table([pa.array(left[is_new]), pa.array(right[is_new])], schema=CANDIDATE_PAIR)


def _put_shard(index: int, pairs: pa.Table, *, folder: str) -> None:
    distinct = sorted_distinct(pairs)
    shards.put_table(folder, TABLE, index, distinct, CANDIDATE_PAIR, compression=None)


def _is_new(left: Hashes, right: Hashes) -> npt.NDArray[np.bool_]:
    """A mask of the rows of two sorted columns that differ from the previous row."""
    changes = np.ones(len(left), dtype=np.bool_)
    changes[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return changes
