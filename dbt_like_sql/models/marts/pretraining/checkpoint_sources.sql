-- A document is there once in a phase (a test of checkpoint_documents): counting is enough.
select
    recipe,
    checkpoint,
    phase,
    repository,
    license,
    bool_or(is_synthetic) as is_synthetic,
    count(*) as num_documents,
    sum(num_tokens)::bigint as num_tokens
from {{ ref('checkpoint_documents') }}
group by recipe, checkpoint, phase, repository, license
