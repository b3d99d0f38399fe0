"""Deterministic samples of held-out documents, the same for each checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.evaluation.problems import sample_ids


@dataclass(frozen=True, kw_only=True)
class HeldOutDocument:
    """A held-out document, truncated to whole characters."""

    document_id: str
    repository: str
    text: str


def truncate_utf8(text: str, *, max_bytes: int) -> str:
    """Truncate to at most `max_bytes` of UTF-8, without splitting a character."""
    return text.encode()[:max_bytes].decode(errors="ignore")


def held_out_documents(
    clean_folder: str, *, num: int, max_bytes: int, seed: int
) -> Iterator[HeldOutDocument]:
    """Sampled held-out documents of a language, in the corpus's order.

    Memory: ids of the held-out documents, and one batch of texts.
    """
    rows = kept_rows(clean_folder, ["document_id", "num_tokens"], split="held_out")
    ids = sample_ids(rows.filter(pl.col("num_tokens") > 0)["document_id"], num=num, seed=seed)
    matching = pl.Series("document_id", ids, pl.String).to_frame()
    columns = ("document_id", "repository", "text")
    for batch in kept_documents(clean_folder, split="held_out", columns=columns, matching=matching):
        for row in batch.to_pylist():
            yield HeldOutDocument(
                document_id=row["document_id"],
                repository=row["repository"],
                text=truncate_utf8(row["text"], max_bytes=max_bytes),
            )
