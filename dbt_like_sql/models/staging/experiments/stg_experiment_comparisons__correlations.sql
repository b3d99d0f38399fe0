select
    recipe,
    experiment,
    gate,
    benchmark,
    subset,
    spearman,
    low,
    high,
    num_arms,
    num_seeds
from {{ source('experiment_comparisons', 'correlations') }}
