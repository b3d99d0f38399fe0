select
    recipe,
    document_id,
    source,
    repository,
    path,
    language,
    num_bytes,
    reason,
    evidence
from {{ source('documents', 'drops') }}
