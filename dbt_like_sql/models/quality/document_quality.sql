with received as materialized (

    select *, case stage when 'clean_corpus' then 1 when 'documents' then 2 else 3 end as place
    from {{ ref('stg_received_files') }}

),

repeated as ({{ repeated('received', 'document_id') }}),

files as (

    -- An archive may hold a file twice: the copy that came furthest speaks for both.
    {{ one_per('received', 'document_id', 'place, kept nulls first, reason') }}

),

hits as (

    select
        document_id,
        first(problem_id order by problem_id, method) as contaminated_by,
        first(method order by problem_id, method) as contamination_method,
        first(evidence order by problem_id, method) as contamination_evidence
    from {{ source('contamination', 'hits') }}
    group by document_id

),

scores as (

    select text_id, language, annotator, logit
    from {{ ref('score_history') }}
    where is_current

)

select
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
    coalesce(files.cluster_id, clusters.cluster_id) as cluster_id,
    clusters.is_survivor,
    clusters.kind as duplicate_kind,
    clusters.jaccard as duplicate_jaccard,
    hits.contaminated_by,
    hits.contamination_method,
    hits.contamination_evidence,
    documents.num_chars,
    documents.num_lines,
    documents.mean_line_chars,
    documents.max_line_chars,
    documents.alphabetic_share,
    documents.alphanumeric_share,
    documents.longest_encoded_chars,
    documents.encoded_share,
    documents.is_generated,
    documents.parses,
    documents.num_redacted_emails,
    documents.num_redacted_keys,
    documents.num_redacted_passwords,
    files.raw_id,
    files.text_id
from files
left join {{ source('documents', 'documents') }} as documents using (document_id)
left join {{ source('near_duplicates', 'clusters') }} as clusters using (document_id)
left join hits using (document_id)
left join scores on scores.text_id = files.text_id and scores.language = files.language
left join {{ source('high_quality_subset', 'documents') }} as selection using (document_id)
