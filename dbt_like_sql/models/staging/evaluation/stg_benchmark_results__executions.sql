-- Evaluation names a checkpoint by its phase.
select
    recipe,
    replace(checkpoint, '_checkpoint', '') || '_checkpoint' as checkpoint,
    problem_id,
    decoding,
    sample_index,
    outcome,
    isolation,
    message,
    completion
from {{ source('benchmark_results', 'executions') }}
