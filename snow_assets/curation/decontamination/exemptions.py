"""Exemptions of documents from decontamination.

The recipe names each document with a reason. `clean_corpus` keeps such a document and stores the
reason with the evidence; the gates before packing and training read it there.
"""

from collections.abc import Sequence

import polars as pl

from snow_assets.recipe import ContaminationExemption
from snow_assets.storage import shards


def exemption_reason(exemptions: Sequence[ContaminationExemption]) -> pl.Expr:
    """The reason of the first exemption that names a row (document_id, repository, path), by its id
    or as repository/path; null if none does."""
    location = pl.concat_str("repository", pl.lit("/"), "path")
    reasons = [
        pl.when((pl.col("document_id") == entry.document) | (location == entry.document)).then(
            pl.lit(entry.reason)
        )
        for entry in exemptions
    ]
    return pl.coalesce(*reasons, pl.lit(None, pl.String))


def exempt_document_ids(
    clean_folders: Sequence[str], exemptions: Sequence[ContaminationExemption]
) -> frozenset[str]:
    """The documents of clean corpora that are exempt; memory: one shard of decisions."""
    if not exemptions:
        return frozenset()
    columns = ["document_id", "repository", "path"]
    tables = (
        shards.read_shard(folder, entry.name, columns=columns)
        for folder in clean_folders
        for entry in shards.manifest(folder).tables("decisions")
    )
    is_exempt = exemption_reason(exemptions).is_not_null()
    return frozenset(
        name for table in tables for name in pl.DataFrame(table).filter(is_exempt)["document_id"]
    )
