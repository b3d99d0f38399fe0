"""The clean corpus as later stages read it: decisions joined with the text they are about."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.document_shards import document_shards
from snow_assets.documents import DECISION


def decisions(clean_folder: str) -> pa.Table:
    """Every document of a language, kept or not, and why. Memory: the table, which has no text."""
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
    """Stream a `clean_corpus` generation's kept documents of a split (None: of both).

    `columns` are any of `documents` and `decisions`. The order is that of sources and shards, the
    same in every run. Memory: one shard of documents.
    """
    texts = {
        shard.key: shard
        for shard in document_shards(shards.input_folders(clean_folder, "documents"))
    }
    own = [name for name in columns if name not in DECISION.names]
    for entry in shards.manifest(clean_folder).tables("decisions"):
        decided = shards.read_shard(clean_folder, entry.name)
        chosen = decided["kept"]
        if split is not None:
            chosen = pc.and_(chosen, pc.fill_null(pc.equal(decided["split"], split), False))
        if not pc.any(chosen).as_py():
            continue
        found = decided.filter(chosen)
        if own:
            text = texts[entry.facts["documents"]].read(["document_id", *own])
            if not text["document_id"].equals(decided["document_id"]):
                raise ValueError(
                    f"{clean_folder}/{entry.name} does not stand row by row beside "
                    f"{entry.facts['documents']}: materialize clean_corpus again"
                )
            text = text.filter(chosen)
            for name in own:
                found = found.append_column(text.schema.field(name), text[name])
        yield from found.select(list(columns)).combine_chunks().to_batches(max_chunksize=rows)
