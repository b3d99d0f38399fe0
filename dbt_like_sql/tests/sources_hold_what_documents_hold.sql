-- The same tokens, whether counted by file or by repository.
with by_file as (

    select checkpoint, sum(num_tokens) as num_tokens
    from {{ ref('checkpoint_documents') }} group by checkpoint

),

by_repository as (

    select checkpoint, sum(num_tokens) as num_tokens
    from {{ ref('checkpoint_sources') }} group by checkpoint

)

select *
from by_file
full join by_repository using (checkpoint)
where by_file.num_tokens is distinct from by_repository.num_tokens
