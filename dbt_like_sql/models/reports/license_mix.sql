-- By what the lake holds: a file that was never admitted has no licence that anybody looked at.
with files as (

    select
        recipe,
        coalesce(license, 'unknown') as license,
        count(*) as received,
        count(*) filter (where text_id is not null) as documents,
        count(*) filter (where kept) as clean,
        sum(num_tokens) filter (where kept) as clean_tokens,
        count(*) filter (where repeats > 0) as selected,
        sum(num_tokens * repeats) filter (where repeats > 0) as selected_tokens
    from {{ ref('document_quality') }}
    group by recipe, coalesce(license, 'unknown')

),

stages as (

    select recipe, 1 as stage_order, 'raw_code_corpus' as stage, license, received as num_documents,
        null::bigint as num_tokens
    from files
    union all
    select recipe, 2, 'documents', license, documents, null from files
    union all
    select recipe, 3, 'clean_corpus', license, clean, clean_tokens from files
    union all
    select recipe, 4, 'high_quality_subset', license, selected, selected_tokens from files
    union all
    select recipe, 5, 'synthetic_set', seed_license, count(*), sum(num_tokens)
    from {{ source('synthetic_set', 'documents') }}
    group by recipe, seed_license
    union all
    select
        recipe,
        case phase when 'general' then 6 when 'continued' then 7 else 8 end,
        phase || '_checkpoint', license, count(*), sum(num_tokens)
    from {{ ref('checkpoint_documents') }}
    where checkpoint = phase || '_checkpoint'
    group by recipe, phase, license

)

select
    recipe,
    stage_order,
    stage,
    license,
    num_documents,
    num_tokens::bigint as num_tokens,
    num_documents / sum(num_documents) over (partition by recipe, stage_order) as share_of_documents,
    num_tokens / sum(num_tokens) over (partition by recipe, stage_order) as share_of_tokens
from stages
where num_documents > 0
