select
    recipe,
    experiment,
    arm,
    baseline,
    is_control,
    benchmark,
    subset,
    difference,
    low,
    high,
    num_seeds,
    num_texts,
    noise,
    min_difference,
    outcome
from {{ ref('stg_experiment_comparisons__comparisons') }}
