select
    recipe,
    experiment,
    arm,
    seed,
    annotator,
    gate,
    language,
    auc,
    low,
    high,
    num_positives,
    num_negatives
from {{ source('experiment_arms', 'arm_annotators') }}
