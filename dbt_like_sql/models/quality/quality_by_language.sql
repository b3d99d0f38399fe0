{% set shares = [1, 5, 10, 25, 50, 75, 90, 95, 99] -%}
with counted as (

    select
        recipe,
        language,
        annotator,
        is_current,
        count(*) as num_documents,
        sum(num_tokens)::bigint as num_tokens,
        avg(logit::double) as mean_logit,
        min(logit) as lowest,
        -- One list of the scores for all percentiles, not one for each.
        quantile_cont(logit, [{% for share in shares %}{{ share / 100 }}{{ ', ' if not loop.last }}{% endfor %}]) as percentiles,
        max(logit) as highest
    from {{ ref('stg_scored_documents') }}
    group by recipe, language, annotator, is_current

)

select
    * exclude (percentiles, highest),
    {% for share in shares -%}
    percentiles[{{ loop.index }}] as p{{ '%02d' % share }},
    {% endfor -%}
    highest
from counted
