-- Read from document_quality, which has joined the lake's tables already.
select
    document_id,
    language,
    source,
    repository,
    path,
    license,
    logit,
    percentile,
    repeats,
    num_tokens,
    num_tokens * repeats as num_trained_tokens,
    text_id
from {{ ref('document_quality') }}
where repeats is not null
