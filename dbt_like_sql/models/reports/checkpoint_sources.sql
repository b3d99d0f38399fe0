select
    checkpoint,
    phase,
    repository,
    license,
    bool_or(is_synthetic) as is_synthetic,
    count(distinct document_id) as num_documents,
    sum(num_tokens)::bigint as num_tokens
from {{ ref('stg_checkpoint_documents') }}
group by checkpoint, phase, repository, license
