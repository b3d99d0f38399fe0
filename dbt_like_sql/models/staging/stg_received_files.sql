-- A row per received file at the last stage that decided about it.
with raw_files as not materialized (

    select recipe, document_id, source, repository, revision, path, license
    from {{ source('raw_code_corpus', 'files') }}

),

never_admitted as (

    select
        recipe, 'raw_code_corpus' as stage, document_id, null as text_id, source, repository,
        null as revision, path, null as license, language, num_bytes, false as kept, reason,
        evidence, null as split, null::bigint as num_tokens
    from {{ source('raw_code_corpus', 'drops') }}

),

no_document as (

    select
        drops.recipe, 'documents' as stage, drops.document_id, null as text_id, drops.source,
        drops.repository, raw_files.revision, drops.path, raw_files.license, drops.language,
        drops.num_bytes, false as kept, drops.reason, drops.evidence, null as split,
        null::bigint as num_tokens
    from {{ source('documents', 'drops') }} as drops
    left join raw_files using (recipe, document_id)

),

decided as (

    select
        recipe, 'clean_corpus' as stage, document_id, text_id, source, repository, revision, path,
        license, language, num_bytes, kept, reason, evidence, split, num_tokens
    from {{ source('clean_corpus', 'decisions') }}

),

open_documents as (

    select recipe, document_id from {{ ref('stg_open_files') }} where stage = 'documents'

),

undecided as (

    select
        recipe, 'documents' as stage, document_id, text_id, source, repository, revision, path,
        license, language, num_bytes, null::boolean as kept, null as reason, null as evidence,
        null as split, null::bigint as num_tokens
    from {{ source('documents', 'documents') }}
    semi join open_documents using (recipe, document_id)

),

unread_files as (

    select recipe, document_id from {{ ref('stg_open_files') }} where stage = 'raw_code_corpus'

),

unread as (

    select
        recipe, 'raw_code_corpus' as stage, document_id, null as text_id, source, repository,
        revision, path, license, null as language, null::bigint as num_bytes, null::boolean as kept,
        null as reason, null as evidence, null as split, null::bigint as num_tokens
    from raw_files
    semi join unread_files using (recipe, document_id)

)

select * from never_admitted
union all
select * from no_document
union all
select * from decided
union all
select * from undecided
union all
select * from unread
