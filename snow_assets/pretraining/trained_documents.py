"""Table `seen`: the documents that a checkpoint was trained on, with their tokens and passes."""

import itertools

import numpy as np
import pyarrow as pa

from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import SEEN


def write_trained_documents(packs: str, output: str, *, excluded_sequences: np.ndarray) -> None:
    """Aggregate the packs' spans by document into table `seen`, a shard per language.

    Spans of `excluded_sequences`, which the weights did not learn from, are left out. Memory: one
    language's spans, which hold no text.
    """
    entries = shards.manifest(packs).tables("spans")
    by_language = itertools.groupby(entries, key=lambda entry: entry.stats["language"])
    for index, (_, group) in enumerate(by_language):
        spans = pa.concat_tables(shards.read_shard(packs, entry.name) for entry in group)
        if len(excluded_sequences):
            spans = spans.filter(~np.isin(spans["sequence"].to_numpy(), excluded_sequences))
        keys = ["document_id", "text_id", "repository", "license", "language"]
        sums = spans.group_by(keys).aggregate([("length", "sum"), ("pass_index", "count_distinct")])
        renamed = sums.rename_columns(
            {"length_sum": "num_tokens", "pass_index_count_distinct": "num_passes"}
        )
        shards.put_table(output, "seen", index, renamed.sort_by("document_id"), SEEN)
