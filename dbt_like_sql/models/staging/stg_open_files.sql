-- A table of the build: several models read what it takes the largest anti join to find.
{{ config(materialized='table') }}
with undecided as (

    select recipe, document_id, stage
    from (
        select recipe, document_id, 'documents' as stage from {{ source('documents', 'documents') }}
        union all
        select recipe, document_id, 'raw_code_corpus' from {{ source('raw_code_corpus', 'files') }}
    )
    anti join {{ source('clean_corpus', 'decisions') }} using (recipe, document_id)

),

with_document as (

    select recipe, document_id, stage from undecided where stage = 'documents'

)

select recipe, document_id, stage from with_document
union all
select recipe, document_id, stage
from undecided
anti join with_document using (recipe, document_id)
anti join {{ source('documents', 'drops') }} using (recipe, document_id)
where stage = 'raw_code_corpus'
