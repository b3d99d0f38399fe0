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
from {{ source('experiment_comparisons', 'comparisons') }}
