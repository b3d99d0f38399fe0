"""Read the clean corpus: decisions joined with the documents' text."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.document_shards import document_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas import DECISION


def decisions(clean_folder: str) -> pa.Table:
    """The decisions of a language, one per document. Memory: the table, which has no text."""
    return shards.read(clean_folder, "decisions")


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
) -> Iterator[pa.RecordBatch]:
    """Stream the kept documents of a `clean_corpus` artifact, of a split or (None) of both.

    `columns` are columns of `documents` and `decisions`. The order is that of sources and shards,
    and deterministic. Memory: a shard of documents.
    """
    texts = {
        shard.key: shard
        for shard in document_shards(shards.input_folders(clean_folder, "documents"))
    }
    document_columns = [name for name in columns if name not in DECISION.names]
    for entry in shards.manifest(clean_folder).tables("decisions"):
        decided = shards.read_shard(clean_folder, entry.name)
        chosen = decided["kept"]
        if split is not None:
            chosen = pc.and_(chosen, pc.fill_null(pc.equal(decided["split"], split), False))
        if not pc.any(chosen).as_py():
            continue
        kept = decided.filter(chosen)
        if document_columns:
            document_rows = texts[entry.facts["documents"]].read(["document_id", *document_columns])
            if not document_rows["document_id"].equals(decided["document_id"]):
                raise ValueError(
                    f"{clean_folder}/{entry.name} is not row-aligned with "
                    f"{entry.facts['documents']}: materialize clean_corpus again"
                )
            document_rows = document_rows.filter(chosen)
            for name in document_columns:
                kept = kept.append_column(document_rows.schema.field(name), document_rows[name])
        yield from kept.select(list(columns)).combine_chunks().to_batches(max_chunksize=rows)
