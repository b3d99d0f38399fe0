select
    recipe,
    annotator,
    annotator_name,
    language,
    graders,
    rank_correlation,
    low,
    high,
    num_texts,
    minimum,
    passed
from {{ ref('stg_quality_annotator__rank_correlations') }}
