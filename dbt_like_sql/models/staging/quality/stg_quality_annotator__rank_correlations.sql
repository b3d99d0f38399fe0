select
    recipe,
    annotator,
    nullif(regexp_replace(asset, '_?quality_annotator$', ''), '') as annotator_name,
    language,
    graders,
    rank_correlation,
    low,
    high,
    num_texts,
    minimum,
    passed
from {{ source('quality_annotator', 'rank_correlations') }}
