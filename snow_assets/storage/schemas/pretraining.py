"""Tables of packs and checkpoints."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import required

SPAN = pa.schema(
    [
        required("sequence", pa.int64()),
        required("sequence_offset", pa.int64()),
        required("length", pa.int64()),
        required("document_id", pa.string()),
        required("text_id", pa.string()),
        required("document_offset", pa.int64()),
        required("pass_index", pa.int32()),
        required("language", pa.string()),
        required("repository", pa.string()),
        required("license", pa.string()),
    ]
)
"""Packs, table `spans`: which tokens of which document stand where, counted in tokens."""

LEAK = pa.schema(
    [
        required("document_id", pa.string()),
        required("problem_id", pa.string()),
        required("part", pa.string()),  # solution or description
        required("evidence", pa.string()),
        required("is_exempt", pa.bool_()),  # by the recipe's contamination_exemptions
    ]
)
"""Packs, table `leaks`: benchmark problems in the documents that a shard of tokens holds."""

SEEN = pa.schema(
    [
        required("document_id", pa.string()),
        required("text_id", pa.string()),
        required("repository", pa.string()),
        required("license", pa.string()),
        required("language", pa.string()),
        required("num_tokens", pa.int64()),
        required("num_passes", pa.int32()),
    ]
)
"""Checkpoints, table `seen`: exactly which documents were trained on, and how much of each."""
