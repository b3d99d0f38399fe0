{{ config(materialized='view', database='build') }}
select
    documents.recipe,
    documents.rowid as document_number,
    documents.language,
    documents.split,
    documents.num_tokens,
    selecting.annotator_name,
    documents.annotator,
    true as is_current,
    true as is_selecting,
    documents.logit
from {{ ref('document_quality') }} as documents
left join {{ ref('int_selecting_annotators') }} as selecting
    on
        documents.recipe = selecting.recipe
        and documents.language = selecting.language
where documents.kept and documents.annotator is not null
union all
select
    recipe,
    document_number,
    language,
    split,
    num_tokens,
    annotator_name,
    annotator,
    true as is_current,
    false as is_selecting,
    logit
from {{ ref('compared_scores') }}
union all
select
    recipe,
    document_number,
    language,
    split,
    num_tokens,
    annotator_name,
    former_annotator as annotator,
    false as is_current,
    false as is_selecting,
    former_logit as logit
from {{ ref('former_scores') }}
