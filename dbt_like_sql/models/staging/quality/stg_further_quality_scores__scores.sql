select
    recipe,
    text_id,
    annotator,
    regexp_replace(asset, '_quality_scores$', '') as annotator_name,
    partition as language,
    fingerprint,
    is_current,
    logit,
    top_logit,
    middle_logit,
    bottom_logit,
    num_windows
from {{ source('further_quality_scores', 'scores') }}
