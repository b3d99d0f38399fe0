-- A table that is not published: several models read it, and its join is the largest.
{{ config(materialized='table', database='build') }}
with former as (

    select
        documents.recipe,
        documents.rowid as document_number,
        documents.language,
        documents.split,
        documents.num_tokens,
        scores.annotator_name,
        scores.annotator as former_annotator,
        scores.logit as former_logit,
        documents.annotator as selecting_annotator,
        documents.logit as selecting_logit,
        coalesce(scores.annotator_name, '') = coalesce(selecting.annotator_name, '') as is_selecting
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
    where documents.kept and not scores.is_current

)

-- Beside the current score of the annotator of the same name.
select
    former.recipe,
    former.document_number,
    former.language,
    former.split,
    former.num_tokens,
    former.annotator_name,
    former.former_annotator,
    former.former_logit,
    if(former.is_selecting, former.selecting_annotator, compared.annotator) as annotator,
    if(former.is_selecting, former.selecting_logit, compared.logit) as logit
from former
left join {{ ref('compared_scores') }} as compared
    on
        former.document_number = compared.document_number
        and former.annotator_name is not distinct from compared.annotator_name
