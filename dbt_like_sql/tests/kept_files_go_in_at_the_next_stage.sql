-- A warning: while an upstream asset is newer than the next one, the numbers rightly differ.
{{ config(severity='warn') }}
with totals as (

    select
        recipe,
        stage_order,
        sum(num_documents) filter (where outcome = 'in') as num_in,
        sum(num_documents) filter (where outcome = 'kept') as num_kept
    from {{ ref('curation_funnel') }}
    group by recipe, stage_order

)

select
    earlier.recipe,
    earlier.stage_order,
    earlier.num_kept,
    later.num_in
from totals as earlier
inner join totals as later
    on earlier.recipe = later.recipe and earlier.stage_order + 1 = later.stage_order
where earlier.num_kept is distinct from later.num_in
