select
    recipe,
    experiment,
    gate,
    language,
    benchmark,
    subset,
    spearman,
    low,
    high,
    num_arms,
    num_seeds
from {{ source('experiment_comparisons', 'correlations') }}
