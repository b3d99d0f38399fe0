select
    language,
    annotator,
    is_current,
    count(*) as num_documents,
    sum(num_tokens)::bigint as num_tokens,
    avg(logit::double) as mean_logit,
    min(logit) as lowest,
    {% for share in [1, 5, 10, 25, 50, 75, 90, 95, 99] -%}
    quantile_cont(logit, {{ share / 100 }}) as p{{ '%02d' % share }},
    {% endfor -%}
    max(logit) as highest
from {{ ref('stg_scored_documents') }}
group by language, annotator, is_current
