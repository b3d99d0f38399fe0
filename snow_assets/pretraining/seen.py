"""Exactly which documents a checkpoint was trained on, and how much of each."""

import itertools

import pyarrow as pa

from snow_assets import shards
from snow_assets.documents import SEEN


def put_seen(packs: str, output: str) -> None:
    """Sum the packs' spans by document into table `seen`, a shard per language.

    Memory: one language's spans, which hold no text.
    """
    entries = shards.manifest(packs).tables("spans")
    by_language = itertools.groupby(entries, key=lambda entry: entry.facts["language"])
    for index, (_, group) in enumerate(by_language):
        spans = pa.concat_tables(shards.read_shard(packs, entry.name) for entry in group)
        keys = ["document_id", "text_id", "repository", "license", "language"]
        sums = spans.group_by(keys).aggregate([("length", "sum"), ("pass_index", "count_distinct")])
        named = sums.rename_columns(
            {"length_sum": "num_tokens", "pass_index_count_distinct": "num_passes"}
        )
        shards.put_table(output, "seen", index, named.sort_by("document_id"), SEEN)
