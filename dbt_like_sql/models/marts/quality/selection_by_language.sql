select
    recipe,
    language,
    repeats,
    count(*) as num_documents,
    count(distinct repository) as num_repositories,
    sum(num_tokens)::bigint as num_tokens,
    sum(num_trained_tokens)::bigint as num_trained_tokens,
    min(logit) as lowest_logit,
    min(percentile) as lowest_percentile
from {{ ref('selection') }}
group by recipe, language, repeats
