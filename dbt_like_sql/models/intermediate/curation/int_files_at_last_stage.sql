-- A row per received file at the last stage that decided about it.
with raw_files as not materialized (

    select * from {{ ref('stg_raw_code_corpus__files') }}

),

not_admitted as (

    select
        recipe,
        'raw_code_corpus' as stage,
        document_id,
        null as text_id,
        source,
        repository,
        null as revision,
        path,
        null as license,
        language,
        num_bytes,
        false as kept,
        reason,
        evidence,
        null as split,
        null::bigint as num_tokens
    from {{ ref('stg_raw_code_corpus__drops') }}

),

without_document as (

    select
        drops.recipe,
        'documents' as stage,
        drops.document_id,
        null as text_id,
        drops.source,
        drops.repository,
        raw_files.revision,
        drops.path,
        raw_files.license,
        drops.language,
        drops.num_bytes,
        false as kept,
        drops.reason,
        drops.evidence,
        null as split,
        null::bigint as num_tokens
    from {{ ref('stg_documents__drops') }} as drops
    left join raw_files using (recipe, document_id)

),

decided as (

    select
        recipe,
        'clean_corpus' as stage,
        document_id,
        text_id,
        source,
        repository,
        revision,
        path,
        license,
        language,
        num_bytes,
        kept,
        reason,
        evidence,
        split,
        num_tokens
    from {{ ref('stg_clean_corpus__decisions') }}

),

undecided_documents as (

    select
        recipe,
        document_id
    from {{ ref('int_undecided_files') }}
    where stage = 'documents'

),

undecided as (

    select
        documents.recipe,
        'documents' as stage,
        documents.document_id,
        documents.text_id,
        documents.source,
        documents.repository,
        documents.revision,
        documents.path,
        documents.license,
        documents.language,
        documents.num_bytes,
        null::boolean as kept,
        null as reason,
        null as evidence,
        null as split,
        null::bigint as num_tokens
    from {{ ref('stg_documents__documents') }} as documents
    semi join undecided_documents using (recipe, document_id)

),

unprocessed_files as (

    select
        recipe,
        document_id
    from {{ ref('int_undecided_files') }}
    where stage = 'raw_code_corpus'

),

unprocessed as (

    select
        raw_files.recipe,
        'raw_code_corpus' as stage,
        raw_files.document_id,
        null as text_id,
        raw_files.source,
        raw_files.repository,
        raw_files.revision,
        raw_files.path,
        raw_files.license,
        null as language,
        null::bigint as num_bytes,
        null::boolean as kept,
        null as reason,
        null as evidence,
        null as split,
        null::bigint as num_tokens
    from raw_files
    semi join unprocessed_files using (recipe, document_id)

)

select * from not_admitted
union all
select * from without_document
union all
select * from decided
union all
select * from undecided
union all
select * from unprocessed
