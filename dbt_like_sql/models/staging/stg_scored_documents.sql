-- A table of the build, because several models read it and its join is the largest.
{{ config(materialized='table') }}
with documents as (

    select rowid as document_number, text_id, language, split, num_tokens, annotator, logit
    from {{ ref('document_quality') }}
    where kept

)

select document_number, language, split, num_tokens, annotator, true as is_current, logit
from documents
where annotator is not null
union all
select
    documents.document_number, documents.language, documents.split, documents.num_tokens,
    scores.annotator, scores.is_current, scores.logit
from documents
inner join {{ ref('score_history') }} as scores
    on scores.text_id = documents.text_id and scores.language = documents.language
where not scores.is_current
