-- A file's reason is the first that applied: a later filter might have dropped it, too.
with dropped as (

    select
        *,
        coalesce(language, 'unknown') as known_language
    from {{ ref('document_quality') }}
    where not kept

)

select
    recipe,
    known_language as language,
    stage,
    reason,
    count(*) as num_documents,
    sum(num_bytes)::bigint as num_bytes,
    count(distinct repository) as num_repositories,
    count(*) / sum(count(*)) over (partition by recipe, known_language) as share_of_drops,
    min(document_id) as example_document_id
from dropped
group by recipe, known_language, stage, reason
