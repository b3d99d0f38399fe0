"""Read the clean corpus: decisions joined with the documents' text."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from snow_assets.curation.document_shards import document_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas import DECISION


def kept_rows(
    clean_folder: str, columns: Sequence[str], *, split: str | None = "train"
) -> pl.DataFrame:
    """The decisions on the kept documents of a split, or (None) of both, in the corpus's order.

    `columns` are columns of `decisions`; `shard` is the index of the shard, `row` of the row in it.
    Memory: these columns of a language.
    """
    read = list(dict.fromkeys((*columns, "kept", "split")))
    tables = shards.manifest(clean_folder).tables("decisions")
    frames = [
        _kept(shards.read_shard(clean_folder, entry.name, columns=read), split)
        .select(*columns, "row")
        .with_columns(shard=pl.lit(index))
        for index, entry in enumerate(tables)
    ]
    return pl.concat(frames)


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
    Memory: a shard of documents; with `matching` also the keys of a language's kept documents.
    """
    texts = {
        shard.key: shard
        for shard in document_shards(shards.input_folders(clean_folder, "documents"))
    }
    document_columns = [name for name in columns if name not in DECISION.names]
    added_columns = [] if matching is None else matching.columns[1:]
    joined = None if matching is None else _join(clean_folder, split, matching)
    for index, entry in enumerate(shards.manifest(clean_folder).tables("decisions")):
        if joined is not None and index not in joined:
            continue
        decided = shards.read_shard(clean_folder, entry.name)
        chosen = joined[index] if joined else _kept(decided.select(["kept", "split"]), split)
        if chosen.is_empty():
            continue
        mask = np.zeros(decided.num_rows, dtype=np.bool_)
        mask[chosen["row"]] = True
        kept = decided.filter(pa.array(mask))
        for name in added_columns:
            kept = kept.append_column(name, chosen[name].to_arrow())
        if document_columns:
            document_rows = texts[entry.stats["documents"]].read(["document_id", *document_columns])
            if not document_rows["document_id"].equals(decided["document_id"]):
                raise ValueError(
                    f"{clean_folder}/{entry.name} is not row-aligned with "
                    f"{entry.stats['documents']}: materialize clean_corpus again"
                )
            document_rows = document_rows.filter(pa.array(mask))
            for name in document_columns:
                kept = kept.append_column(document_rows.schema.field(name), document_rows[name])
        table = kept.select([*columns, *added_columns])
        yield from table.combine_chunks().to_batches(max_chunksize=rows)


def _join(clean_folder: str, split: str | None, matching: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """Index of a shard of decisions -> its kept documents that join with `matching`."""
    key = matching.columns[0]
    joined = kept_rows(clean_folder, [key], split=split).join(
        matching, on=key, maintain_order="left"
    )
    return {frame["shard"][0]: frame for frame in joined.partition_by("shard")}
