-- Several generations hold the same score; a current one's row stands for all.
-- A language whose newest generation is an older annotator's still has that one as current.
with annotators as (

    select distinct "partition" as language, annotator
    from {{ source('quality_scores', 'scores') }}
    where is_current

)

select
    text_id,
    annotator,
    "partition" as language,
    ("partition", annotator) in (select (language, annotator) from annotators) as is_current,
    logit,
    top_logit,
    middle_logit,
    bottom_logit,
    num_windows
from {{ source('quality_scores', 'scores') }}
qualify row_number() over (
    partition by text_id, annotator, "partition"
    order by is_current desc, generation
) = 1
