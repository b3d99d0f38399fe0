select
    recipe,
    document_id,
    text_id,
    source,
    repository,
    revision,
    path,
    license,
    language,
    num_bytes,
    kept,
    reason,
    evidence,
    split,
    num_tokens
from {{ source('clean_corpus', 'decisions') }}
