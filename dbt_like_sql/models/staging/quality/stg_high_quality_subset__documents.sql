select
    recipe,
    document_id,
    logit,
    percentile,
    repeats,
    num_tokens
from {{ source('high_quality_subset', 'documents') }}
