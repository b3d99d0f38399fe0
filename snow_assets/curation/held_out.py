"""Assert that documents are not held out, nor copies of held-out ones: over partitions of ids."""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from snow_assets.curation.kept import kept_shard
from snow_assets.curation.split import HELD_OUT
from snow_assets.runtime.exchange.contract import Exchange, ShardMap
from snow_assets.runtime.exchange.partitions import by_id
from snow_assets.storage import shards
from snow_assets.storage.shards import FileRecord

DOCUMENT_IDS = pa.schema([("document_id", pa.string())])

_DECIDED = pa.schema([(name, pa.string()) for name in ("document_id", "text_id", "cluster_id")])
_KEYS = pa.schema(
    [
        ("key", pa.string()),  # a text or a cluster, or a document without a decision
        ("kind", pa.int8()),
        ("document_id", pa.string()),
    ]
)
_KINDS = ("text_id", "cluster_id")
_UNDECIDED = len(_KINDS)
_RESULT = pa.schema(
    [
        ("document_id", pa.string()),  # the first one that is held out or a copy
        ("held_out_id", pa.string()),
        ("num_undecided", pa.int64()),
        ("undecided_id", pa.string()),
    ]
)
_ROW_BYTES = 220  # three ids


def assert_no_held_out(
    document_ids: ShardMap, clean_folders: Sequence[str], *, num_documents: int, exchange: Exchange
) -> None:
    """ValueError if a document is held out, or shares a text or cluster with a held-out document.

    For packs and seeds; `document_ids` are tables of DOCUMENT_IDS, of about `num_documents` rows. A
    document without a decision in the `clean_corpus` artifacts raises, too. Memory: that of the
    exchange.
    """
    clean_shards = [
        (folder, entry)
        for folder in clean_folders
        for entry in shards.manifest(folder).tables("decisions")
    ]
    num_rows = num_documents + sum(entry.num_rows or 0 for _, entry in clean_shards)
    num_bytes = num_rows * _ROW_BYTES
    decided, used = by_id(
        exchange,
        exchange.map_shards(_decided, clean_shards, schema=_DECIDED),
        document_ids,
        column="document_id",
        num_bytes=num_bytes,
    )
    used_keys, held_out_keys = by_id(
        exchange,
        exchange.map_shards(_used_keys, used, decided, schema=_KEYS),
        exchange.map_shards(_held_out_keys, clean_shards, schema=_KEYS),
        column="key",
        num_bytes=num_bytes,
    )
    compared = exchange.map_shards(_compared, used_keys, held_out_keys, schema=_RESULT)
    results = pl.DataFrame(pa.concat_tables(exchange.gather(compared)))
    copies = results.drop_nulls("document_id").sort("document_id", "held_out_id")
    for document_id, held_out_id, *_ in copies.head(1).iter_rows():
        raise ValueError(
            f"document {document_id} is held out or a near duplicate of the held-out document "
            f"{held_out_id}: leave it out"
        )
    if num_undecided := results["num_undecided"].sum():
        raise ValueError(
            f"{num_undecided} documents, {results.select(pl.min('undecided_id')).item()} among "
            f"them, are in none of the clean corpora {list(clean_folders)}: name the artifacts "
            "that they come from"
        )


def _decided(clean_shard: tuple[str, FileRecord]) -> pa.Table:
    folder, entry = clean_shard
    return shards.read_shard(folder, entry.name, columns=_DECIDED.names).cast(_DECIDED)


def _held_out_keys(clean_shard: tuple[str, FileRecord]) -> pa.Table:
    folder, entry = clean_shard
    return _keys(pl.DataFrame(kept_shard(folder, entry, _DECIDED.names, split=HELD_OUT)))


def _used_keys(used: pa.Table, decided: pa.Table) -> pa.Table:
    documents = pl.DataFrame(used).unique()
    decisions = pl.DataFrame(decided)
    undecided = documents.join(decisions, on="document_id", how="anti").select(
        key="document_id", kind=pl.lit(_UNDECIDED, pl.Int8), document_id="document_id"
    )
    keys = _keys(decisions.join(documents, on="document_id", how="semi"))
    return pa.concat_tables([keys, undecided.to_arrow().cast(_KEYS)])


def _keys(documents: pl.DataFrame) -> pa.Table:
    """The text and the cluster of each document, as far as it has one."""
    keys = [
        documents.select(key=column, kind=pl.lit(kind, pl.Int8), document_id="document_id")
        for kind, column in enumerate(_KINDS)
    ]
    return pl.concat(keys).drop_nulls("key").to_arrow().cast(_KEYS)


def _compared(used: pa.Table, held_out: pa.Table) -> pa.Table:
    keys = pl.DataFrame(used)
    copies = keys.join(
        pl.DataFrame(held_out).rename({"document_id": "held_out_id"}), on=["key", "kind"]
    ).sort("document_id", "held_out_id")
    undecided = keys.filter(pl.col("kind") == _UNDECIDED)["document_id"]
    first = copies.select("document_id", "held_out_id").head(1).to_dicts()
    row = {
        **(first[0] if first else {}),
        "num_undecided": len(undecided),
        "undecided_id": undecided.min(),
    }
    return pa.Table.from_pylist([row], schema=_RESULT)
