with trained as (

    select
        recipe,
        checkpoint,
        sum(num_tokens) filter (where phase || '_checkpoint' = checkpoint)::bigint as phase_tokens,
        sum(num_tokens)::bigint as total_tokens
    from {{ ref('checkpoint_documents') }}
    group by recipe, checkpoint

),

results as (

    select * from {{ ref('stg_benchmark_results__results') }}

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
    trained.phase_tokens,
    trained.total_tokens,
    results.note
from results
left join trained using (recipe, checkpoint)
