select
    text_id, annotator, language, is_current, logit, top_logit, middle_logit, bottom_logit,
    num_windows
from {{ ref('stg_scores') }}
