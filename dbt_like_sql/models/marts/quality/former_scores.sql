-- A table that is not published: several models read it, and its join is the largest.
{{ config(materialized='table', database='build') }}
select
    documents.recipe,
    documents.rowid as document_number,
    documents.language,
    documents.split,
    documents.num_tokens,
    former.annotator as former_annotator,
    former.logit as former_logit,
    documents.annotator,
    documents.logit
from {{ ref('document_quality') }} as documents
inner join {{ ref('score_history') }} as former
    on
        documents.recipe = former.recipe
        and documents.text_id = former.text_id
        and documents.language = former.language
where documents.kept and not former.is_current
