with files as (

    -- An archive may hold a file twice: the copy that came furthest speaks for both.
    select *
    from {{ ref('stg_received_files') }}
    qualify row_number() over (
        partition by document_id
        order by
            case stage when 'clean_corpus' then 1 when 'documents' then 2 else 3 end,
            kept nulls first,
            reason
    ) = 1

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

    select text_id, language, max(annotator) as annotator, arg_max(logit, annotator) as logit
    from {{ ref('stg_scores') }}
    where is_current
    group by text_id, language

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
    documents.num_lines,
    documents.mean_line_chars,
    documents.max_line_chars,
    documents.alphabetic_share,
    documents.encoded_share,
    documents.is_generated,
    documents.parses,
    files.raw_id,
    files.text_id
from files
left join {{ source('documents', 'documents') }} as documents using (document_id)
left join {{ source('near_duplicates', 'clusters') }} as clusters using (document_id)
left join hits using (document_id)
left join scores on scores.text_id = files.text_id and scores.language = files.language
left join {{ source('high_quality_subset', 'documents') }} as selection using (document_id)
