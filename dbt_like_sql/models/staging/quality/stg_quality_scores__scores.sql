select
    recipe,
    text_id,
    annotator,
    -- Comparable, unlike null: the recipe's own one has no name.
    '' as annotator_name,
    partition as language,
    fingerprint,
    is_current,
    logit,
    top_logit,
    middle_logit,
    bottom_logit,
    num_windows
from {{ source('quality_scores', 'scores') }}
