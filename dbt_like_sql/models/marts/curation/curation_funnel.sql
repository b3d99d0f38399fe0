-- Counted per artifact, not per document: a file that an archive holds twice came in twice.
with outcomes as (

    -- The language of an admitted file is known from its last stage: admission needs none.
    select
        files.recipe,
        'raw_code_corpus' as stage,
        1 as stage_order,
        quality.language,
        'kept' as outcome,
        null as reason,
        quality.num_bytes,
        null::bigint as num_tokens
    from {{ ref('stg_raw_code_corpus__files') }} as files
    left join {{ ref('document_quality') }} as quality using (recipe, document_id)
    union all
    select
        recipe,
        'raw_code_corpus' as stage,
        1 as stage_order,
        language,
        'dropped' as outcome,
        reason,
        num_bytes,
        null as num_tokens
    from {{ ref('stg_raw_code_corpus__drops') }}
    union all
    select
        recipe,
        'documents' as stage,
        2 as stage_order,
        language,
        'kept' as outcome,
        null as reason,
        num_bytes,
        null as num_tokens
    from {{ ref('stg_documents__documents') }}
    union all
    select
        recipe,
        'documents' as stage,
        2 as stage_order,
        language,
        'dropped' as outcome,
        reason,
        num_bytes,
        null as num_tokens
    from {{ ref('stg_documents__drops') }}
    union all
    select
        recipe,
        'clean_corpus' as stage,
        3 as stage_order,
        language,
        if(kept, 'kept', 'dropped') as outcome,
        reason,
        num_bytes,
        num_tokens
    from {{ ref('stg_clean_corpus__decisions') }}

),

counted as (

    select
        recipe,
        stage_order,
        stage,
        coalesce(language, 'unknown') as language,
        outcome,
        reason,
        count(*) as num_documents,
        sum(num_bytes)::bigint as num_bytes,
        sum(num_tokens)::bigint as num_tokens
    from outcomes
    group by all

)

select * from counted
union all
select
    recipe,
    stage_order,
    stage,
    language,
    'in' as outcome,
    null as reason,
    sum(num_documents)::bigint as num_documents,
    sum(num_bytes)::bigint as num_bytes,
    null::bigint as num_tokens
from counted
group by all
