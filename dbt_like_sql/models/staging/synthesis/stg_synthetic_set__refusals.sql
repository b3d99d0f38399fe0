select
    recipe,
    document_id,
    language,
    seed_document_id,
    seed_repository,
    reason,
    evidence,
    coalesce(mode, 'oss_instruct') as mode
from {{ source('synthetic_set', 'refusals') }}
