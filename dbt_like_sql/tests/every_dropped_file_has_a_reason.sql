select recipe, document_id, stage
from {{ ref('document_quality') }}
where kept = false and reason is null
