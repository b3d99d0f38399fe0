select
    recipe,
    repository,
    coalesce(language, 'unknown') as language,
    count(*) as num_raw_files,
    count(*) filter (where kept) as num_kept,
    count(*) filter (where reason in ('exact_duplicate', 'near_duplicate')) as num_duplicates,
    count(*) filter (where reason in ('contaminated', 'benchmark_leak')) as num_contaminated,
    sum(num_tokens) filter (where kept)::bigint as num_tokens,
    avg(logit::double) filter (where kept) as mean_logit,
    max(logit) filter (where kept) as highest_logit,
    avg(percentile) as mean_percentile,
    count(*) filter (where repeats > 0) as num_selected,
    coalesce(sum(num_tokens) filter (where repeats > 0), 0)::bigint as num_selected_tokens,
    coalesce(sum(num_tokens * repeats), 0)::bigint as num_trained_tokens
from {{ ref('document_quality') }}
group by recipe, repository, coalesce(language, 'unknown')
