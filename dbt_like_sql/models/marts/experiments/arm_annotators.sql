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
from {{ ref('stg_experiment_arms__arm_annotators') }}
