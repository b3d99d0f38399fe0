-- The same tokens, whether counted by file or by repository.
with by_file as (

    select recipe, checkpoint, sum(num_tokens) as num_tokens
    from {{ ref('checkpoint_documents') }} group by recipe, checkpoint

),

by_repository as (

    select recipe, checkpoint, sum(num_tokens) as num_tokens
    from {{ ref('checkpoint_sources') }} group by recipe, checkpoint

)

select *
from by_file
full join by_repository using (recipe, checkpoint)
where by_file.num_tokens is distinct from by_repository.num_tokens
