with outcomes as (

    select
        recipe,
        language,
        'accepted' as outcome,
        null as reason,
        num_tokens
    from {{ ref('stg_synthetic_set__documents') }}
    union all
    select
        recipe,
        language,
        'refused' as outcome,
        reason,
        null::bigint as num_tokens
    from {{ ref('stg_synthetic_set__refusals') }}

)

select
    recipe,
    language,
    outcome,
    reason,
    count(*) as num_documents,
    sum(num_tokens)::bigint as num_tokens,
    count(*) / sum(count(*)) over (partition by recipe, language) as share
from outcomes
group by recipe, language, outcome, reason
