select
    recipe,
    language,
    annotator,
    selected,
    gate_failures,
    budget_tokens,
    selected_tokens
from {{ ref('stg_high_quality_subset__languages') }}
