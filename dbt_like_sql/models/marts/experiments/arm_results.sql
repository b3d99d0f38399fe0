select
    recipe,
    experiment,
    arm,
    seed,
    benchmark,
    subset,
    bits_per_byte,
    num_texts
from {{ ref('stg_experiment_arms__arm_results') }}
