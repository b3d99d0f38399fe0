"""Tables of synthesis: seeds, what the teacher wrote, and what is accepted or refused of it."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import required

_MODE = pa.field("mode", pa.string())  # SynthesisMode; absent if nothing is rewritten

SYNTHETIC_SEED = pa.schema(
    [
        required("document_id", pa.string()),  # of the file that is asked for
        required("language", pa.string()),
        required("snippet", pa.string()),  # consecutive lines of the seed document, or all
        required("seed_document_id", pa.string()),
        required("seed_repository", pa.string()),
        required("seed_license", pa.string()),
        _MODE,
    ]
)
"""`synthetic_completions`, table `seeds`: what was asked for, in order; a shard is a chunk."""

SYNTHETIC_COMPLETION = pa.schema(
    [
        required("document_id", pa.string()),
        required("completion", pa.string()),  # as the teacher wrote it
        required("finish_reason", pa.string()),  # stop, length, or why nothing was generated
        pa.field("evidence", pa.string()),  # of a request that nothing was generated for
        required("num_prompt_tokens", pa.int64()),  # both in the teacher's tokens
        required("num_completion_tokens", pa.int64()),
        required("engine", pa.string()),
    ]
)
"""`synthetic_completions`, table `completions`: a row per seed, before anything is judged."""

SYNTHETIC_DOCUMENT = pa.schema(
    [
        required("document_id", pa.string()),
        required("text_id", pa.string()),
        required("language", pa.string()),
        required("text", pa.string()),
        required("num_tokens", pa.int64()),
        required("seed_document_id", pa.string()),
        required("seed_repository", pa.string()),
        required("seed_license", pa.string()),
        required("prompt_version", pa.string()),
        required("engine", pa.string()),
        required("model", pa.string()),
        required("model_license", pa.string()),  # the teacher's, beside the seed's
        required("model_terms", pa.string()),
        _MODE,
        pa.field("execution", pa.string()),  # what ran in the sandbox; absent if nothing may
    ]
)
"""`synthetic_set`, table `documents`: accepted files, each with the seed it came from."""

SYNTHETIC_REFUSAL = pa.schema(
    [
        required("document_id", pa.string()),
        required("language", pa.string()),
        required("seed_document_id", pa.string()),
        required("seed_repository", pa.string()),
        required("reason", pa.string()),
        pa.field("evidence", pa.string()),
        _MODE,
    ]
)
"""`synthetic_set`, table `refusals`."""
