with seen as (

    select
        recipe,
        checkpoint,
        sum(num_tokens) filter (where phase || '_checkpoint' = checkpoint)::bigint as phase_tokens,
        sum(num_tokens)::bigint as total_tokens
    from {{ ref('checkpoint_documents') }}
    group by recipe, checkpoint

),

results as (

    -- Evaluation names a checkpoint by its phase.
    select replace(checkpoint, '_checkpoint', '') || '_checkpoint' as checkpoint,
        * exclude (checkpoint)
    from {{ source('benchmark_results', 'results') }}

)

select
    results.recipe,
    results.checkpoint,
    results.benchmark,
    results.metric,
    results.subset,
    results.value,
    results.low,
    results.high,
    results.num_samples,
    seen.phase_tokens,
    seen.total_tokens,
    results.note
from results
left join seen using (recipe, checkpoint)
