-- Evaluation names a checkpoint by its phase.
select
    recipe,
    replace(checkpoint, '_checkpoint', '') || '_checkpoint' as checkpoint,
    benchmark,
    metric,
    subset,
    value,
    low,
    high,
    num_samples,
    note
from {{ source('benchmark_results', 'results') }}
