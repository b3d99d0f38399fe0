"""Exemptions of documents from decontamination.

The recipe names each document with a reason. `clean_corpus` keeps such a document and stores the
reason with the evidence; the gates before packing and training read it there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from snow_assets.recipe import ContaminationExemption
from snow_assets.storage import shards


def exemption_of(
    row: Mapping[str, Any], exemptions: Iterable[ContaminationExemption]
) -> ContaminationExemption | None:
    """The exemption that names a row (document_id, repository, path), by id or repository/path."""
    names = (row["document_id"], f"{row['repository']}/{row['path']}")
    return next((exemption for exemption in exemptions if exemption.document in names), None)


def exempt_document_ids(
    clean_folders: Sequence[str], exemptions: Sequence[ContaminationExemption]
) -> frozenset[str]:
    """The documents of clean corpora that are exempt; memory: one shard of decisions."""
    if not exemptions:
        return frozenset()
    columns = ["document_id", "repository", "path"]
    return frozenset(
        row["document_id"]
        for folder in clean_folders
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096)
        for row in batch.to_pylist()
        if exemption_of(row, exemptions)
    )
