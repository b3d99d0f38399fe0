-- A warning: packs refuse such a file, but a checkpoint may be older than today's split.
{{ config(severity='warn') }}
select
    trained.recipe,
    trained.checkpoint,
    trained.document_id
from {{ ref('checkpoint_documents') }} as trained
inner join {{ ref('document_quality') }} as files
    on trained.recipe = files.recipe and trained.source_document_id = files.document_id
where files.split = 'held_out'
