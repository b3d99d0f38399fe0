-- Several artifacts hold the same score; a current one's row stands for all.
-- A language whose newest artifact is an older annotator's still has that one as current.
{% set keys = 'recipe, text_id, annotator_name, annotator, language' -%}
with scores as not materialized (

    select * from {{ ref('stg_quality_scores__scores') }}
    union all by name
    select * from {{ ref('stg_further_quality_scores__scores') }}

),

-- Only of these may a score be there twice: all others go by without a look at their names.
rescored as materialized (

    select
        recipe,
        language,
        annotator_name,
        annotator,
        bool_or(is_current) as is_current
    from scores
    group by recipe, language, annotator_name, annotator
    having min(fingerprint) < max(fingerprint)

),

candidates as materialized (

    select scores.* replace (rescored.is_current as is_current)
    from scores
    inner join rescored using (recipe, language, annotator_name, annotator)
    where not scores.is_current

),

current_scores as (

    select scores.*
    from scores
    semi join rescored using (recipe, language, annotator_name, annotator)
    where scores.is_current

),

former_scores as materialized (

    select candidates.*
    from candidates
    anti join current_scores using ({{ keys }})

),

duplicate_hashes as (

    {{ duplicate_hashes('former_scores', keys) }}

),

unique_former_scores as (

    {{ deduplicate('former_scores', keys, 'fingerprint') }}

),

unioned as (

    select * from scores
    where is_current
    union all
    select scores.*
    from scores
    anti join rescored using (recipe, language, annotator_name, annotator)
    where not scores.is_current
    union all by name
    select * from unique_former_scores

)

select
    recipe,
    text_id,
    nullif(annotator_name, '') as annotator_name,
    annotator,
    language,
    is_current,
    logit,
    top_logit,
    middle_logit,
    bottom_logit,
    num_windows
from unioned
