-- A file's reason is the first that applied: what another rule would have dropped, too, is not seen.
select
    recipe,
    coalesce(language, 'unknown') as language,
    stage,
    reason,
    count(*) as num_documents,
    sum(num_bytes)::bigint as num_bytes,
    count(distinct repository) as num_repositories,
    count(*) / sum(count(*)) over (partition by recipe, coalesce(language, 'unknown')) as share_of_drops,
    min(document_id) as example_document_id
from {{ ref('document_quality') }}
where kept = false
group by recipe, coalesce(language, 'unknown'), stage, reason
