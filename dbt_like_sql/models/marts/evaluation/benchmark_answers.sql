select
    recipe,
    checkpoint,
    problem_id,
    verdict,
    isolation,
    message,
    completion
from {{ ref('stg_benchmark_results__answers') }}
