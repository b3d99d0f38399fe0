-- `selection` is read from document_quality: whatever the lake selected must be there.
with ranked as (

    select count(*) as num_ranked from {{ ref('stg_high_quality_subset__documents') }}

),

listed as (

    select count(*) as num_listed from {{ ref('selection') }}

)

select
    ranked.num_ranked,
    listed.num_listed
from ranked
cross join listed
where ranked.num_ranked != listed.num_listed
