-- A table of the build, because several models read it and its join is the largest.
{{ config(materialized='table') }}
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
    on former.recipe = documents.recipe
    and former.text_id = documents.text_id
    and former.language = documents.language
where documents.kept and not former.is_current
