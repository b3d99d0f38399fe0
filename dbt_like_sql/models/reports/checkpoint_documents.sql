-- A document's path is looked up once, not for every checkpoint that inherits it.
with located as (

    select seen.*, origin.source, origin.path
    from {{ ref('stg_seen_documents') }} as seen
    left join {{ ref('document_quality') }} as origin
        on origin.document_id = seen.source_document_id

)

select
    ancestry.checkpoint,
    located.phase,
    located.document_id,
    located.is_synthetic,
    located.source_document_id,
    located.source,
    located.repository,
    located.path,
    located.license,
    located.language,
    located.num_tokens,
    located.num_passes,
    located.text_id
from {{ ref('stg_checkpoint_ancestry') }} as ancestry
inner join located
    on located.phase = ancestry.phase and located.generation = ancestry.generation
