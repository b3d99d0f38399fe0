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
from {{ ref('stg_experiment_comparisons__correlations') }}
