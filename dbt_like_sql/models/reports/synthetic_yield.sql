with outcomes as (

    select language, 'accepted' as outcome, null as reason, num_tokens
    from {{ source('synthetic_set', 'documents') }}
    union all
    select language, 'refused' as outcome, reason, null::bigint as num_tokens
    from {{ source('synthetic_set', 'refusals') }}

)

select
    language,
    outcome,
    reason,
    count(*) as num_documents,
    sum(num_tokens)::bigint as num_tokens,
    count(*) / sum(count(*)) over (partition by language) as share
from outcomes
group by language, outcome, reason
