select
    recipe,
    regexp_replace(asset, '_checkpoint$', '') as phase,
    fingerprint,
    document_id,
    text_id,
    repository,
    license,
    language,
    num_tokens,
    num_passes
from {{ source('checkpoints', 'seen') }}
