select
    recipe,
    checkpoint,
    problem_id,
    outcome,
    isolation,
    message,
    completion
from {{ ref('stg_benchmark_results__answers') }}
