select
    recipe,
    text_id,
    annotator,
    regexp_replace(asset, '_quality_scores$', '') as annotator_name,
    partition as language,
    is_current,
    logit
from {{ source('further_quality_scores', 'scores') }}
