"""Tables of curation: documents, their duplicates and contamination, decisions over them."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import PROVENANCE, required

SIGNALS = [
    required("num_bytes", pa.int64()),
    required("num_chars", pa.int64()),
    required("num_lines", pa.int64()),
    required("mean_line_chars", pa.float64()),
    required("max_line_chars", pa.int64()),
    required("alphabetic_share", pa.float64()),
    required("alphanumeric_share", pa.float64()),
    required("longest_encoded_chars", pa.int64()),  # longest base64, hex or \\u run
    required("encoded_share", pa.float64()),
    required("is_generated", pa.bool_()),
    pa.field("parses", pa.bool_()),  # Python only: `ast` accepts it; else True; null: not asked
    required("num_redacted_emails", pa.int64()),
    required("num_redacted_keys", pa.int64()),
    required("num_redacted_passwords", pa.int64()),
]

DOCUMENT = pa.schema(
    [
        *PROVENANCE,
        required("text_id", pa.string()),
        required("language", pa.string()),
        required("text", pa.string()),
        *SIGNALS,
    ]
)
"""`documents`, table `documents`: redacted text, written once, with its signals beside it."""

DUPLICATE_PAIR = pa.schema(
    [
        required("text_id", pa.string()),
        required("other_text_id", pa.string()),
        required("jaccard", pa.float64()),
    ]
)
"""`near_duplicates`, table `pairs`: verified pairs, text_id < other_text_id."""

DUPLICATE_CLUSTER = pa.schema(
    [
        required("document_id", pa.string()),
        required("text_id", pa.string()),
        required("cluster_id", pa.string()),  # the canonical document's document_id
        required("is_canonical", pa.bool_()),
        pa.field("kind", pa.string()),  # exact or near; null for a canonical document
        pa.field("jaccard", pa.float64()),  # with the nearest verified neighbour
    ]
)
"""`near_duplicates`, table `clusters`: a row per document that reached deduplication."""

HELD_OUT_REPOSITORY = pa.schema([required("repository", pa.string())])
"""`held_out_repositories`, table `repositories`: those with documents in a language, in the order
of their names; a shard for each language that has any."""

CONTAMINATION = pa.schema(
    [
        required("document_id", pa.string()),
        required("text_id", pa.string()),
        required("problem_id", pa.string()),
        required("method", pa.string()),  # substring, ngram, renamed or description
        required("evidence", pa.string()),
    ]
)
"""`contamination`, table `hits`: a row per document, benchmark problem and method."""

DECISION = pa.schema(
    [
        *PROVENANCE,
        required("text_id", pa.string()),
        required("language", pa.string()),
        required("num_bytes", pa.int64()),
        required("kept", pa.bool_()),
        pa.field("reason", pa.string()),  # null when kept
        pa.field("evidence", pa.string()),  # of a kept document: why it is exempt
        pa.field("cluster_id", pa.string()),
        pa.field("split", pa.string()),  # train or held_out; null when dropped
        pa.field("num_tokens", pa.int64()),  # null when dropped
    ]
)
"""`clean_corpus`, table `decisions`: every document of a language, kept or not, and why."""
