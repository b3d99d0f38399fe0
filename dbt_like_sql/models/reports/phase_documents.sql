-- A document's path is looked up once, not for every checkpoint that inherits it.
with seen as (

    select 'general' as phase, * from {{ source('general_checkpoint', 'seen') }}
    union all by name
    select 'continued' as phase, * from {{ source('continued_checkpoint', 'seen') }}
    union all by name
    select 'enhanced' as phase, * from {{ source('enhanced_checkpoint', 'seen') }}

),

traced as (

    select
        seen.*,
        seeds.seed_document_id,
        coalesce(seeds.seed_document_id, seen.document_id) as source_document_id
    from seen
    left join {{ source('synthetic_set', 'documents') }} as seeds using (recipe, document_id)

)

select
    traced.recipe,
    traced.phase,
    traced.generation,
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
    on origin.recipe = traced.recipe and origin.document_id = traced.source_document_id
