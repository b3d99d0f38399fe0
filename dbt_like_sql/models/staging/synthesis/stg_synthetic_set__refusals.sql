select
    recipe,
    document_id,
    language,
    seed_document_id,
    seed_repository,
    reason,
    evidence
from {{ source('synthetic_set', 'refusals') }}
