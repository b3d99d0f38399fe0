select
    recipe,
    text_id,
    annotator,
    partition as language,
    fingerprint,
    is_current,
    logit,
    top_logit,
    middle_logit,
    bottom_logit,
    num_windows
from {{ source('quality_scores', 'scores') }}
