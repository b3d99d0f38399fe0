select
    recipe,
    stage,
    language,
    sum(num_documents) filter (where outcome = 'in') as num_in,
    sum(num_documents) filter (where outcome != 'in') as num_out
from {{ ref('curation_funnel') }}
group by recipe, stage, language
having num_in is distinct from num_out
