select
    recipe,
    experiment,
    arm,
    seed,
    benchmark,
    subset,
    bits_per_byte,
    num_texts
from {{ source('experiment_arms', 'arm_results') }}
