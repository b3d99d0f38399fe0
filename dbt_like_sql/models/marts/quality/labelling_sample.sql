-- Document ids are digests: the least of them are a random sample, and the same one every time.
with sampled as (

    select
        recipe,
        language,
        least(floor(percentile * 10), 9)::integer as stratum,
        count(*) as stratum_documents,
        min(document_id, {{ var('labels_per_stratum') }}) as document_ids
    from {{ ref('selection') }}
    group by all

),

documents as (

    select
        recipe,
        unnest(document_ids) as document_id,
        stratum,
        stratum_documents / len(document_ids) as weight
    from sampled

)

select
    selection.recipe,
    selection.document_id,
    selection.language,
    documents.stratum,
    documents.weight,
    selection.repository,
    selection.path,
    selection.logit,
    selection.repeats
from documents
inner join {{ ref('selection') }} as selection using (recipe, document_id)
