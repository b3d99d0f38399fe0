select
    recipe,
    document_id,
    problem_id,
    method,
    evidence
from {{ source('contamination', 'hits') }}
