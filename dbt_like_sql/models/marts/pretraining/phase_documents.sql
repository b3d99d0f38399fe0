-- A document's path is looked up once, not for every checkpoint that inherits it.
with documents as (

    select * from {{ ref('stg_checkpoints__documents') }}

),

seeds as (

    select
        recipe,
        document_id,
        seed_document_id
    from {{ ref('stg_synthetic_set__documents') }}

),

traced as (

    select
        documents.*,
        seeds.seed_document_id,
        coalesce(seeds.seed_document_id, documents.document_id) as source_document_id
    from documents
    left join seeds using (recipe, document_id)

)

select
    traced.recipe,
    traced.phase,
    traced.fingerprint,
    traced.document_id,
    traced.seed_document_id,
    origin.source,
    traced.repository,
    origin.path,
    traced.license,
    traced.language,
    traced.num_tokens,
    traced.num_passes,
    traced.text_id
from traced
left join {{ ref('document_quality') }} as origin
    on
        traced.recipe = origin.recipe
        and traced.source_document_id = origin.document_id
