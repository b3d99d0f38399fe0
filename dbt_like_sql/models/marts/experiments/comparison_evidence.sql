with comparisons as (
    select
        recipe,
        experiment,
        arm,
        baseline,
        outcome
    from {{ ref('stg_experiment_comparisons__comparisons') }}
),

evidence as (
    select
        recipe,
        experiment,
        arm,
        is_stale,
        changed,
        left_documents,
        left_tokens,
        entered_documents,
        entered_tokens
    from {{ ref('stg_manifests__evidence') }}
)

select
    comparisons.recipe,
    comparisons.experiment,
    comparisons.arm,
    comparisons.baseline,
    comparisons.outcome,
    bool_or(evidence.is_stale) as is_stale,
    string_agg(distinct evidence.changed, ', ' order by evidence.changed) as changed,
    max(evidence.left_documents) as left_documents,
    max(evidence.left_tokens) as left_tokens,
    max(evidence.entered_documents) as entered_documents,
    max(evidence.entered_tokens) as entered_tokens
from comparisons
inner join evidence
    on
        comparisons.recipe = evidence.recipe
        and comparisons.experiment = evidence.experiment
        and evidence.arm in (comparisons.arm, comparisons.baseline)
group by all
