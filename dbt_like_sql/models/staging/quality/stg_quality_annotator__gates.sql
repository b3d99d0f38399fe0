select
    recipe,
    annotator,
    language,
    gate,
    auc,
    low,
    high,
    num_positives,
    num_negatives,
    minimum,
    passed
from {{ source('quality_annotator', 'gates') }}
