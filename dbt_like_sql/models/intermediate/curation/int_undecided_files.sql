-- A table: several models read what it takes the largest anti join to find.
{{ config(materialized='table') }}
with files as (

    select
        recipe,
        document_id,
        'documents' as stage
    from {{ ref('stg_documents__documents') }}
    union all
    select
        recipe,
        document_id,
        'raw_code_corpus' as stage
    from {{ ref('stg_raw_code_corpus__files') }}

),

undecided as (

    select files.*
    from files
    anti join {{ ref('stg_clean_corpus__decisions') }} using (recipe, document_id)

),

with_document as (

    select
        recipe,
        document_id,
        stage
    from undecided
    where stage = 'documents'

)

select * from with_document
union all
select undecided.*
from undecided
anti join with_document using (recipe, document_id)
anti join {{ ref('stg_documents__drops') }} using (recipe, document_id)
where undecided.stage = 'raw_code_corpus'
