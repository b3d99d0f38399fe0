{{ config(materialized='view', database='build') }}
select
    recipe,
    rowid as document_number,
    language,
    split,
    num_tokens,
    annotator,
    true as is_current,
    logit
from {{ ref('document_quality') }}
where kept and annotator is not null
union all
select
    recipe,
    document_number,
    language,
    split,
    num_tokens,
    former_annotator as annotator,
    false as is_current,
    former_logit as logit
from {{ ref('former_scores') }}
