"""Read the clean corpus: decisions joined with the documents' text."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION, DOCUMENT


def kept_rows(
    clean_folder: str, columns: Sequence[str], *, split: str | None = "train"
) -> pl.DataFrame:
    """The decisions on the kept documents of a split, or (None) of both, in the corpus's order.

    `columns` are columns of `decisions`; `shard` is the index of the shard, `row` of the row in it.
    Memory: these columns of a language.
    """
    read = list(dict.fromkeys((*columns, "kept", "split")))
    entries = shards.manifest(clean_folder).tables("decisions")
    frames = [
        _kept(table, split).select(*columns, "row").with_columns(shard=pl.lit(index))
        for index, table in enumerate(shards.read_shards(clean_folder, entries, columns=read))
    ]
    return pl.concat(frames)


def kept_shard_rows(
    clean_folder: str, entry: shards.FileRecord, columns: Sequence[str], *, split: str = "train"
) -> pl.DataFrame:
    """`kept_rows` of one shard of `decisions`, without `shard`. Memory: these columns of it."""
    read = dict.fromkeys((*columns, "kept", "split"))
    table = shards.read_shard(clean_folder, entry.name, columns=list(read))
    return _kept(table, split).select(*columns, "row")


def _kept(decided: pa.Table, split: str | None) -> pl.DataFrame:
    kept = pl.DataFrame(decided).with_row_index("row").filter("kept")
    return kept if split is None else kept.filter(pl.col("split") == split)


def kept_documents(
    clean_folder: str,
    *,
    split: str | None = "train",
    columns: Sequence[str] = (
        "document_id",
        "text_id",
        "repository",
        "path",
        "license",
        "num_tokens",
        "text",
    ),
    rows: int = 256,
    matching: pl.DataFrame | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the kept documents of a `clean_corpus` artifact, of a split or (None) of both.

    `columns` are columns of `documents` and `decisions`. The order is that of sources and shards,
    and deterministic. With `matching` only those that it joins on its first column (document_id or
    text_id, distinct), with its further columns; shards without any are not read.
    Memory: these columns of a shard of documents; with `matching` also the keys of a language's
    kept documents.
    """
    joined = None if matching is None else _join(clean_folder, split, matching)
    added_columns = [] if matching is None else matching.columns[1:]
    for index, entry in enumerate(shards.manifest(clean_folder).tables("decisions")):
        chosen = None if joined is None else joined.get(index)
        if joined is not None and chosen is None:
            continue
        table = kept_shard(clean_folder, entry, columns, split=split, chosen=chosen)
        if chosen is not None:
            for name in added_columns:
                table = table.append_column(name, chosen[name].to_arrow())
        if table.num_rows:
            yield from table.combine_chunks().to_batches(max_chunksize=rows)


def kept_shard(
    clean_folder: str,
    entry: shards.FileRecord,
    columns: Sequence[str],
    *,
    split: str | None = "train",
    chosen: pl.DataFrame | None = None,
) -> pa.Table:
    """The kept documents of one shard of `decisions`; with `chosen`, those at its column `row`.

    Text is read if a document is kept. Memory: these columns of the shard.
    """
    decision_columns = [name for name in columns if name in DECISION.names]
    read = dict.fromkeys(("document_id", "kept", "split", *decision_columns))
    decided = shards.read_shard(clean_folder, entry.name, columns=list(read))
    if chosen is None:
        chosen = _kept(decided.select(["kept", "split"]), split)
    mask = np.zeros(decided.num_rows, dtype=np.bool_)
    mask[chosen["row"]] = True
    kept = decided.filter(pa.array(mask))
    document_columns = [name for name in columns if name not in DECISION.names]
    if document_columns and chosen.is_empty():
        schema = pa.schema([DOCUMENT.field(name) for name in document_columns])
        kept = _with_columns(kept, schema.empty_table())
    elif document_columns:
        key = entry.stats["documents"]
        folder, name = _documents_folder(clean_folder, key), key.rsplit("/", 1)[1]
        documents = shards.read_shard(folder, name, columns=["document_id", *document_columns])
        if not documents["document_id"].equals(decided["document_id"]):
            raise ValueError(
                f"{clean_folder}/{entry.name} is not row-aligned with {key}: "
                "materialize clean_corpus again"
            )
        kept = _with_columns(kept, documents.select(document_columns).filter(pa.array(mask)))
    return kept.select(columns)


def _documents_folder(clean_folder: str, key: str) -> str:
    """The artifact that holds the shard of documents of this key (see `document_shards`)."""
    lake = clean_folder.rstrip("/").rsplit("/", 3)[0]
    return shards.join(lake, "documents", key.rsplit("/", 1)[0])


def _with_columns(table: pa.Table, further: pa.Table) -> pa.Table:
    for name in further.column_names:
        table = table.append_column(further.schema.field(name), further[name])
    return table


def _join(clean_folder: str, split: str | None, matching: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """Index of a shard of decisions -> its kept documents that join with `matching`."""
    key = matching.columns[0]
    joined = kept_rows(clean_folder, [key], split=split).join(
        matching, on=key, maintain_order="left"
    )
    return {frame["shard"][0]: frame for frame in joined.partition_by("shard")}
