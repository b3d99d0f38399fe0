-- A warning: packs refuse such a file, but a checkpoint may be older than today's split.
{{ config(severity='warn') }}
select seen.recipe, seen.checkpoint, seen.document_id
from {{ ref('checkpoint_documents') }} as seen
inner join {{ ref('document_quality') }} as files
    on files.recipe = seen.recipe and files.document_id = seen.source_document_id
where files.split = 'held_out'
