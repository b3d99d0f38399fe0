with outcomes as (

    select
        recipe,
        language,
        mode,
        'accepted' as outcome,
        null as reason,
        num_tokens
    from {{ ref('stg_synthetic_set__documents') }}
    union all
    select
        recipe,
        language,
        mode,
        'refused' as outcome,
        reason,
        null::bigint as num_tokens
    from {{ ref('stg_synthetic_set__refusals') }}

)

select
    recipe,
    language,
    mode,
    outcome,
    reason,
    count(*) as num_documents,
    sum(num_tokens)::bigint as num_tokens,
    count(*) / sum(count(*)) over (partition by recipe, language, mode) as share
from outcomes
group by recipe, language, mode, outcome, reason
