select
    recipe,
    experiment,
    arm,
    seed,
    is_stale,
    changed,
    left_documents,
    left_tokens,
    entered_documents,
    entered_tokens
from {{ source('manifests', 'evidence') }}
