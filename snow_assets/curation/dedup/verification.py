"""Verify candidate pairs by the exact Jaccard similarity of their stored shingles.

Texts are not read. The pairs of a set of similar texts are verified together: a pair goes to the
partition of the smallest text that its right text is paired with, and each text's shingles to the
partitions of its pairs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import buffers
from snow_assets.curation.dedup.candidates import CANDIDATE_PAIR, TABLE
from snow_assets.curation.dedup.signatures import SignatureShard
from snow_assets.curation.dedup.text_keys import TextKeys, text_keys
from snow_assets.curation.hashing import splitmix64
from snow_assets.runtime.exchange.contract import MAX_PARTITIONS, Exchange
from snow_assets.runtime.exchange.partitions import indices_in, range_of_keys, ranges_of
from snow_assets.runtime.exchange.shard_work import write_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DUPLICATE_PAIR

PAIRS = "pairs"
_CANDIDATES_PER_SHARD = 1_000_000  # of verified pairs
_SHINGLE_BYTES = 4

_DESTINED_PAIR = pa.schema([("partition", pa.uint16()), *CANDIDATE_PAIR])
_REQUEST = pa.schema([("text", pa.uint64()), ("partition", pa.uint16())])
_SHINGLES = pa.schema(
    [
        ("partition", pa.uint16()),
        ("text", pa.uint64()),
        ("text_id", pa.string()),
        ("shingles", pa.large_binary()),  # uint32, little-endian; a partition may exceed 2 GB
    ]
)
_VERIFIED_PAIR = pa.schema([*CANDIDATE_PAIR, *DUPLICATE_PAIR])


def verify_pairs(
    candidates_folder: str,
    signature_folders: Sequence[str],
    folder: str,
    *,
    min_jaccard: float,
    exchange: Exchange,
) -> dict[str, Any]:
    """Write `pairs`: candidate pairs with a Jaccard similarity of at least `min_jaccard`.

    They are sorted, and shards are ranges of text ids. Memory: a shard or a partition, and 10 bytes
    per text in a candidate pair and partition of its pairs. All texts of a set that is paired with
    one text lie in a partition.
    """
    entries = shards.manifest(candidates_folder).tables(TABLE)
    num_candidates = entries.total("num_rows")
    names = entries.column("name").to_pylist()
    signature_shards = [
        (SignatureShard(url, entry.name), entry.stats["shingles"])
        for url in signature_folders
        for entry in shards.manifest(url).tables("signatures")
    ]
    num_shingles = sum(count for _, count in signature_shards)
    num_partitions = exchange.num_partitions(num_shingles * _SHINGLE_BYTES)
    pairs = exchange.by_key(
        exchange.map_shards(
            _destined_pairs,
            names,
            schema=_DESTINED_PAIR,
            folder=candidates_folder,
            num_partitions=num_partitions,
        ),
        indices_in("partition"),
        num_partitions=num_partitions,
    )
    texts, partitions = _requests(
        exchange.gather(exchange.map_shards(_requests_in, pairs, schema=_REQUEST))
    )
    shingles = exchange.by_key(
        exchange.map_shards(
            _requested_shingles,
            [shard for shard, _ in signature_shards],
            schema=_SHINGLES,
            texts=texts,
            partitions=partitions,
        ),
        indices_in("partition"),
        num_partitions=num_partitions,
    )
    verified = exchange.by_key(
        exchange.map_shards(
            _verified_pairs, pairs, shingles, schema=_VERIFIED_PAIR, min_jaccard=min_jaccard
        ),
        ranges_of("left"),
        num_partitions=min(MAX_PARTITIONS, 1 + num_candidates // _CANDIDATES_PER_SHARD),
    )
    del pairs, shingles  # from disk
    write_shards(
        exchange,
        _put_shard,
        range(len(verified)),
        verified,
        unit="shards of verified pairs",
        folder=folder,
    )
    return {"verified_pairs": shards.records(folder, PAIRS).total("num_rows")}


def _destined_pairs(name: str, *, folder: str, num_partitions: int) -> pa.Table:
    """Pairs of a shard with the partition that verifies them."""
    pairs = shards.read_shard(folder, name)
    left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    is_first = np.ones(len(right), dtype=np.bool_)  # in order of right and left
    is_first[1:] = right[1:] != right[:-1]
    smallest = left[np.flatnonzero(is_first)[np.cumsum(is_first) - 1]]
    # The smallest of several keys is not uniform; its hash is.
    partitions = range_of_keys(splitmix64(smallest), num_partitions)
    return pa.table([pa.array(partitions), pa.array(left), pa.array(right)], schema=_DESTINED_PAIR)


def _requests_in(pairs: pa.Table) -> pa.Table:
    """The texts in the pairs of a partition."""
    texts = np.unique(np.concatenate([pairs["left"].to_numpy(), pairs["right"].to_numpy()]))
    partitions = np.full(len(texts), pairs["partition"][0].as_py() if len(texts) else 0, np.uint16)
    return pa.table([pa.array(texts), pa.array(partitions)], schema=_REQUEST)


def _requests(tables: Iterable[pa.Table]) -> tuple[TextKeys, npt.NDArray[np.uint16]]:
    """Ascending texts, as often as partitions need their shingles, and these partitions."""
    requests = pa.concat_tables([_REQUEST.empty_table(), *tables])
    texts, partitions = requests["text"].to_numpy(), requests["partition"].to_numpy()
    order = np.argsort(texts, kind="stable")
    return texts[order], partitions[order]


def _requested_shingles(
    shard: SignatureShard, *, texts: TextKeys, partitions: npt.NDArray[np.uint16]
) -> pa.Table:
    """A row per text of the shard and partition that needs its shingles, by partition."""
    table = shard.read(["text_id"])
    keys = text_keys(table["text_id"])
    first = np.searchsorted(texts, keys, side="left")
    num_requests = np.searchsorted(texts, keys, side="right") - first
    if not num_requests.any():
        return _SHINGLES.empty_table()
    rows = np.repeat(np.arange(len(keys)), num_requests)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(num_requests) - num_requests, num_requests)
    requests = np.repeat(first, num_requests) + offsets
    order = np.argsort(partitions[requests], kind="stable")
    rows, requests = rows[order], requests[order]
    columns = [
        pa.array(partitions[requests]),
        pa.array(keys[rows]),
        table["text_id"].take(pa.array(rows)),
        shard.read_shingles().cast(pa.large_binary()).take(pa.array(rows)),
    ]
    return pa.table(columns, schema=_SHINGLES)


def _verified_pairs(pairs: pa.Table, shingles: pa.Table, *, min_jaccard: float) -> pa.Table:
    """The pairs of a partition that are similar enough; of a text the first shingles count."""
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.dedup.minhash import jaccards

    left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    keys, rows = np.unique(shingles["text"].to_numpy(), return_index=True)
    left_rows, right_rows = rows[np.searchsorted(keys, left)], rows[np.searchsorted(keys, right)]
    data, offsets = buffers(shingles["shingles"].combine_chunks())
    starts, counts = offsets[:-1] // 4, np.diff(offsets) // 4
    similarities = np.zeros(len(left))
    jaccards(data.view(np.uint32), starts, counts, left_rows, right_rows, min_jaccard, similarities)
    is_verified = np.flatnonzero(similarities >= min_jaccard)
    text_ids = shingles["text_id"]
    columns = [
        pa.array(left[is_verified]),
        pa.array(right[is_verified]),
        text_ids.take(pa.array(left_rows[is_verified])),
        text_ids.take(pa.array(right_rows[is_verified])),
        pa.array(similarities[is_verified]),
    ]
    return pa.table(columns, schema=_VERIFIED_PAIR)


def _put_shard(index: int, pairs: pa.Table, *, folder: str) -> None:
    order = np.lexsort((pairs["right"].to_numpy(), pairs["left"].to_numpy()))
    rows = pairs.select(DUPLICATE_PAIR.names).take(pa.array(order))
    shards.put_table(folder, PAIRS, index, rows, DUPLICATE_PAIR)
