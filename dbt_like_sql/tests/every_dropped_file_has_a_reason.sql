select
    recipe,
    document_id,
    stage
from {{ ref('document_quality') }}
where not kept and reason is null
