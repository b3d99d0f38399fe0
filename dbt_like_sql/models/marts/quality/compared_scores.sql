-- Of the annotators that do not select in a language: the selecting one's are in document_quality.
{{ config(materialized='table', database='build') }}
select
    documents.recipe,
    documents.rowid as document_number,
    documents.language,
    documents.split,
    documents.num_tokens,
    scores.annotator_name,
    scores.annotator,
    scores.logit
from {{ ref('document_quality') }} as documents
inner join {{ ref('score_history') }} as scores
    on
        documents.recipe = scores.recipe
        and documents.text_id = scores.text_id
        and documents.language = scores.language
left join {{ ref('int_selecting_annotators') }} as selecting
    on
        documents.recipe = selecting.recipe
        and documents.language = selecting.language
where
    documents.kept
    and scores.is_current
    and scores.annotator_name is distinct from selecting.annotator_name
