-- Several generations hold the same score; a current one's row stands for all.
-- A language whose newest generation is an older annotator's still has that one as current.
{% set keys = 'text_id, annotator, language' -%}
with scores as (

    select * exclude ("partition"), "partition" as language
    from {{ source('quality_scores', 'scores') }}

),

current_scores as (

    select * from scores where is_current

),

former as (

    select * from scores
    anti join current_scores using ({{ keys }})
    where not scores.is_current

),

repeated as ({{ repeated('former', keys) }}),

listed as (

    select * from current_scores
    union all
    ({{ one_per('former', keys, 'generation') }})

),

annotators as (

    select distinct language, annotator from current_scores

)

select
    listed.text_id,
    listed.annotator,
    listed.language,
    annotators.annotator is not null as is_current,
    listed.logit,
    listed.top_logit,
    listed.middle_logit,
    listed.bottom_logit,
    listed.num_windows
from listed
left join annotators
    on annotators.language = listed.language and annotators.annotator = listed.annotator
