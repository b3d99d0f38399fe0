select
    recipe,
    checkpoint,
    problem_id,
    decoding,
    sample_index,
    outcome,
    isolation,
    message,
    completion
from {{ ref('stg_benchmark_results__executions') }}
