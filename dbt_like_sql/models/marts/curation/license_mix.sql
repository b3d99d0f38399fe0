-- A file that was not admitted has no licence that was read.
with files as (

    select
        recipe,
        coalesce(license, 'unknown') as license,
        count(*) as num_raw_files,
        count(*) filter (where text_id is not null) as num_documents,
        count(*) filter (where kept) as num_clean_documents,
        sum(num_tokens) filter (where kept) as num_clean_tokens,
        count(*) filter (where repeats > 0) as num_selected_documents,
        sum(num_tokens * repeats) filter (where repeats > 0) as num_selected_tokens
    from {{ ref('document_quality') }}
    group by recipe, coalesce(license, 'unknown')

),

phases as (

    select
        recipe,
        checkpoint,
        count(*)::integer as num_phases
    from {{ ref('checkpoint_phases') }}
    group by recipe, checkpoint

),

stages as (

    select
        recipe,
        1 as stage_order,
        'raw_code_corpus' as stage,
        license,
        num_raw_files as num_documents,
        null::bigint as num_tokens
    from files
    union all
    select
        recipe,
        2 as stage_order,
        'documents' as stage,
        license,
        num_documents,
        null as num_tokens
    from files
    union all
    select
        recipe,
        3 as stage_order,
        'clean_corpus' as stage,
        license,
        num_clean_documents as num_documents,
        num_clean_tokens as num_tokens
    from files
    union all
    select
        recipe,
        4 as stage_order,
        'high_quality_subset' as stage,
        license,
        num_selected_documents as num_documents,
        num_selected_tokens as num_tokens
    from files
    union all
    select
        recipe,
        5 as stage_order,
        'synthetic_set' as stage,
        seed_license as license,
        count(*) as num_documents,
        sum(num_tokens) as num_tokens
    from {{ ref('stg_synthetic_set__documents') }}
    group by recipe, seed_license
    union all
    select
        documents.recipe,
        5 + phases.num_phases as stage_order,
        documents.checkpoint as stage,
        documents.license,
        count(*) as num_documents,
        sum(documents.num_tokens) as num_tokens
    from {{ ref('checkpoint_documents') }} as documents
    inner join phases using (recipe, checkpoint)
    where documents.checkpoint = documents.phase || '_checkpoint'
    group by documents.recipe, phases.num_phases, documents.checkpoint, documents.license
)

select
    recipe,
    stage_order,
    stage,
    license,
    num_documents,
    num_tokens::bigint as num_tokens,
    num_documents / sum(num_documents) over by_stage as share_of_documents,
    num_tokens / sum(num_tokens) over by_stage as share_of_tokens
from stages
where num_documents > 0
window by_stage as (partition by recipe, stage)
