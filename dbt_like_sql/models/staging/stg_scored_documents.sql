-- A table of the build, because several models read it and its join is the largest.
{{ config(materialized='table') }}
select
    documents.rowid as document_number,
    documents.language,
    documents.split,
    documents.num_tokens,
    scores.annotator,
    scores.is_current,
    scores.logit
from {{ ref('document_quality') }} as documents
inner join {{ ref('score_history') }} as scores
    on scores.text_id = documents.text_id and scores.language = documents.language
where documents.kept
