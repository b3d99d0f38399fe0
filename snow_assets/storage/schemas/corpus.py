"""Tables of the corpus: received files, benchmark problems and exemplars."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import PROVENANCE, required

RAW_FILE = pa.schema(
    [
        *PROVENANCE,
        pa.field("license_evidence", pa.string()),
        pa.field("copyright_notices", pa.list_(pa.string())),  # of the licence files that decided
        required("content", pa.binary()),
    ]
)
"""`raw_code_corpus`, table `files`: admitted files, bytes as received."""

DROP = pa.schema(
    [
        required("document_id", pa.string()),
        required("source", pa.string()),
        required("repository", pa.string()),
        required("path", pa.string()),
        pa.field("language", pa.string()),
        required("num_bytes", pa.int64()),
        required("reason", pa.string()),
        pa.field("evidence", pa.string()),
    ]
)
"""Table `drops` of `raw_code_corpus`, `documents` and `exemplars`: a file that went no further."""

BENCHMARK_PROBLEM = pa.schema(
    [
        required("problem_id", pa.string()),
        required("benchmark", pa.string()),
        required("prompt", pa.string()),
        required("solution", pa.string()),
        required("test", pa.string()),
        required("entry_point", pa.string()),
        required("is_validation", pa.bool_()),  # what the annotator's gate reads
    ]
)
"""`benchmark_problems`, table `problems`."""

EXEMPLAR = pa.schema(
    [
        required("text_id", pa.string()),
        required("group", pa.string()),  # of the recipe's exemplars.groups
        required("kind", pa.string()),  # file or instruction
        required("repository", pa.string()),  # of a table's row: GROUP/PART
        required("path", pa.string()),
        required("license", pa.string()),
        required("language", pa.string()),
        required("text", pa.string()),
    ]
)
"""`exemplars`, table `exemplars`: code that the annotator learns to call good."""
