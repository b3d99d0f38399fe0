select
    recipe,
    annotator,
    annotator_name,
    language,
    gate,
    auc,
    low,
    high,
    num_positives,
    num_negatives,
    minimum,
    passed
from {{ ref('stg_quality_annotator__gates') }}
