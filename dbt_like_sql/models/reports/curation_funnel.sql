-- Counted per generation, not per document: a file that an archive holds twice came in twice.
with outcomes as (

    -- What became of a file tells its language: to receive it nobody had to look.
    select files.recipe, 'raw_code_corpus' as stage, 1 as stage_order, quality.language,
        'kept' as outcome, null as reason, quality.num_bytes, null::bigint as num_tokens
    from {{ source('raw_code_corpus', 'files') }} as files
    left join {{ ref('document_quality') }} as quality using (recipe, document_id)
    union all
    select recipe, 'raw_code_corpus', 1, language, 'dropped', reason, num_bytes, null
    from {{ source('raw_code_corpus', 'drops') }}
    union all
    select recipe, 'documents', 2, language, 'kept', null, num_bytes, null
    from {{ source('documents', 'documents') }}
    union all
    select recipe, 'documents', 2, language, 'dropped', reason, num_bytes, null
    from {{ source('documents', 'drops') }}
    union all
    select recipe, 'clean_corpus', 3, language, if(kept, 'kept', 'dropped'), reason, num_bytes,
        num_tokens
    from {{ source('clean_corpus', 'decisions') }}

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
