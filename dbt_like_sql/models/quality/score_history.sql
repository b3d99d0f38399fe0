-- Several generations hold the same score; a current one's row stands for all.
-- A language whose newest generation is an older annotator's still has that one as current.
{% set keys = 'recipe, text_id, annotator, language' -%}
with scores as not materialized (

    select * exclude ("partition"), "partition" as language
    from {{ source('quality_scores', 'scores') }}

),

-- Only of these may a score be there twice: all others go by without a look at their names.
several as materialized (

    select recipe, language, annotator, bool_or(is_current) as is_current
    from scores
    group by recipe, language, annotator
    having min(generation) < max(generation)

),

suspects as materialized (

    select scores.* replace (several.is_current as is_current)
    from scores
    inner join several using (recipe, language, annotator)
    where not scores.is_current

),

former as materialized (

    select * from suspects
    anti join (
        select * from scores semi join several using (recipe, language, annotator) where is_current
    ) as current_scores using ({{ keys }})

),

repeated as ({{ repeated('former', keys) }}),

listed as (

    select * from scores where is_current
    union all
    select * from scores anti join several using (recipe, language, annotator) where not is_current
    union all by name
    ({{ one_per('former', keys, 'generation') }})

)

select
    recipe, text_id, annotator, language, is_current, logit, top_logit, middle_logit, bottom_logit,
    num_windows
from listed
