-- Of the annotators that do not select in a language: the selecting one's are in document_quality.
{{ config(materialized='table', database='build') }}
with scores as materialized (

    select history.*
    from {{ ref('score_history') }} as history
    left join {{ ref('int_selecting_annotators') }} as selecting
        on
            history.recipe = selecting.recipe
            and history.language = selecting.language
    where
        history.is_current
        and history.annotator_name is distinct from selecting.annotator_name

)

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
inner join scores
    on
        documents.recipe = scores.recipe
        and documents.text_id = scores.text_id
        and documents.language = scores.language
where documents.kept
