-- The files are read once more for those that came twice, and never held: their names are long.
with received as not materialized (

    select
        *,
        case stage when 'clean_corpus' then 1 when 'documents' then 2 else 3 end as stage_rank
    from {{ ref('int_files_at_last_stage') }}

),

duplicate_hashes as (

    {{ duplicate_hashes('received', 'recipe, document_id') }}

),

files as (

    -- An archive may hold a file twice: the copy that came furthest speaks for both.
    {{ deduplicate('received', 'recipe, document_id', 'stage_rank, kept nulls first, reason') }}

),

-- Of duplicates, and of documents with a near duplicate: nine in ten have none.
duplicates as (

    select
        recipe,
        document_id,
        if(is_canonical, null, cluster_id) as duplicate_of,
        kind,
        jaccard
    from {{ ref('stg_near_duplicates__clusters') }}
    where jaccard is not null

),

contamination as (

    select
        recipe,
        document_id,
        first(problem_id order by problem_id, method) as contaminated_by,
        first(method order by problem_id, method) as contamination_method,
        first(evidence order by problem_id, method) as contamination_evidence
    from {{ ref('stg_contamination__hits') }}
    group by recipe, document_id

),

-- The side of a join that looks smaller is held in memory. Files look a fifth as many as they are,
-- because they come through a filter, and are several times as wide: so the signals, joined last,
-- are made narrow and come through one, too.
signals as (

    select
        * replace (
            num_redacted_emails::integer as num_redacted_emails,
            num_redacted_keys::integer as num_redacted_keys,
            num_redacted_passwords::integer as num_redacted_passwords
        )
    from {{ ref('stg_documents__documents') }}
    where strlen(document_id) > 0

),

selecting_scores as (

    select
        further.recipe,
        further.text_id,
        further.language,
        further.annotator,
        further.logit
    from {{ ref('stg_further_quality_scores__scores') }} as further
    semi join {{ ref('int_selecting_annotators') }} using (recipe, language, annotator_name)
    where further.is_current

),

selecting_languages as (

    select distinct
        recipe,
        language
    from selecting_scores

),

scores as (

    select
        own.recipe,
        own.text_id,
        own.language,
        own.annotator,
        own.logit
    from {{ ref('score_history') }} as own
    anti join selecting_languages using (recipe, language)
    where own.is_current and own.annotator_name is null
    union all
    select * from selecting_scores

),

selection as (

    select * from {{ ref('stg_high_quality_subset__documents') }}

)

select
    files.recipe,
    files.document_id,
    files.source,
    files.repository,
    files.revision,
    files.path,
    files.license,
    files.language,
    files.stage,
    files.kept,
    files.reason,
    files.evidence,
    files.split,
    files.num_bytes,
    files.num_tokens,
    scores.annotator,
    scores.logit,
    selection.percentile,
    selection.repeats,
    duplicates.duplicate_of,
    duplicates.kind as duplicate_kind,
    duplicates.jaccard as duplicate_jaccard,
    contamination.contaminated_by,
    contamination.contamination_method,
    contamination.contamination_evidence,
    signals.num_chars,
    signals.num_lines,
    signals.mean_line_chars,
    signals.max_line_chars,
    signals.alphabetic_share,
    signals.alphanumeric_share,
    signals.longest_encoded_chars,
    signals.encoded_share,
    signals.is_generated,
    signals.parses,
    signals.num_redacted_emails::bigint as num_redacted_emails,
    signals.num_redacted_keys::bigint as num_redacted_keys,
    signals.num_redacted_passwords::bigint as num_redacted_passwords,
    files.text_id
from files
left join duplicates using (recipe, document_id)
left join contamination using (recipe, document_id)
left join scores
    on
        files.recipe = scores.recipe
        and files.text_id = scores.text_id
        and files.language = scores.language
left join selection using (recipe, document_id)
left join signals using (recipe, document_id)
