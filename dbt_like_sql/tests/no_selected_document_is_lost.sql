-- `selection` is read from document_quality: whatever the lake selected must be there.
with counted as (

    select
        (select count(*) from {{ source('high_quality_subset', 'documents') }}) as num_ranked,
        (select count(*) from {{ ref('selection') }}) as num_listed

)

select * from counted where num_ranked != num_listed
