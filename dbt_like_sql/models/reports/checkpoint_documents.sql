select
    seen.checkpoint,
    seen.phase,
    seen.document_id,
    seen.is_synthetic,
    seen.source_document_id,
    origin.source,
    seen.repository,
    origin.path,
    seen.license,
    seen.language,
    seen.num_tokens,
    seen.num_passes,
    seen.text_id
from {{ ref('stg_checkpoint_documents') }} as seen
left join {{ ref('document_quality') }} as origin
    on origin.document_id = seen.source_document_id
