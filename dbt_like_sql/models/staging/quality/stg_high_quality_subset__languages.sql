select
    recipe,
    language,
    annotator,
    selected,
    gate_failures,
    budget_tokens,
    selected_tokens
from {{ source('high_quality_subset', 'languages') }}
