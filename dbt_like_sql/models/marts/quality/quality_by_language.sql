{% set percents = [1, 5, 10, 25, 50, 75, 90, 95, 99] -%}
with counted as (

    select
        recipe,
        language,
        annotator_name,
        annotator,
        is_current,
        bool_or(is_selecting) as is_selecting,
        count(*) as num_documents,
        sum(num_tokens)::bigint as num_tokens,
        avg(logit::double) as mean_logit,
        min(logit) as lowest,
        -- One list of the scores for all percentiles, not one for each.
        quantile_cont(logit, [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]) as percentiles,
        max(logit) as highest
    from {{ ref('scored_documents') }}
    group by recipe, language, annotator_name, annotator, is_current

)

select
    * exclude (percentiles, highest),
    {% for percent in percents -%}
    percentiles[{{ loop.index }}] as p{{ '%02d' % percent }},
    {% endfor -%}
    highest
from counted
