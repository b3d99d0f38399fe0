with by_file as (

    select
        recipe,
        checkpoint,
        sum(num_tokens) as num_file_tokens
    from {{ ref('checkpoint_documents') }}
    group by recipe, checkpoint

),

by_repository as (

    select
        recipe,
        checkpoint,
        sum(num_tokens) as num_repository_tokens
    from {{ ref('checkpoint_sources') }}
    group by recipe, checkpoint

)

select
    recipe,
    checkpoint,
    by_file.num_file_tokens,
    by_repository.num_repository_tokens
from by_file
full join by_repository using (recipe, checkpoint)
where by_file.num_file_tokens is distinct from by_repository.num_repository_tokens
