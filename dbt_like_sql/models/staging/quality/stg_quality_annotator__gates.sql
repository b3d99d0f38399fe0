select
    recipe,
    annotator,
    nullif(regexp_replace(asset, '_?quality_annotator$', ''), '') as annotator_name,
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
