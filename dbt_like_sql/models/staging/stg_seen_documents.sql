-- What each checkpoint's own phase trained on.
with seen as (

    select 'general' as phase, * from {{ source('general_checkpoint', 'seen') }}
    union all by name
    select 'continued' as phase, * from {{ source('continued_checkpoint', 'seen') }}
    union all by name
    select 'enhanced' as phase, * from {{ source('enhanced_checkpoint', 'seen') }}

),

seeds as (

    select document_id, seed_document_id from {{ source('synthetic_set', 'documents') }}

)

select
    seen.phase,
    seen.generation,
    seen.document_id,
    seen.text_id,
    seeds.document_id is not null as is_synthetic,
    coalesce(seeds.seed_document_id, seen.document_id) as source_document_id,
    seen.repository,
    seen.license,
    seen.language,
    seen.num_tokens,
    seen.num_passes
from seen
left join seeds on seeds.document_id = seen.document_id
