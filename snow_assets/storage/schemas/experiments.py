"""Tables of experiments: what arms score, and their comparison."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import required

ARM_RESULT = pa.schema(
    [
        required("experiment", pa.string()),
        required("arm", pa.string()),
        required("seed", pa.int64()),
        required("benchmark", pa.string()),  # held_out, or the problems' benchmark
        required("subset", pa.string()),  # a language, or validation_half / test_half
        required("bits_per_byte", pa.float64()),
        required("num_texts", pa.int64()),
    ]
)
"""`experiment_arms`, table `arm_results`: what an arm scores with a seed."""

ARM_ANNOTATOR = pa.schema(
    [
        required("experiment", pa.string()),
        required("arm", pa.string()),
        required("seed", pa.int64()),
        required("annotator", pa.string()),  # its version
        required("gate", pa.string()),
        pa.field("language", pa.string()),  # null: of all languages together
        pa.field("auc", pa.float64()),  # null: too few texts
        pa.field("low", pa.float64()),  # of its 95 % interval
        pa.field("high", pa.float64()),
        required("num_positives", pa.int64()),
        required("num_negatives", pa.int64()),
    ]
)
"""`experiment_arms`, table `arm_annotators`: the AUCs of the annotator that an arm selects by."""

ANNOTATOR_CORRELATION = pa.schema(
    [
        required("experiment", pa.string()),
        required("gate", pa.string()),
        pa.field("language", pa.string()),  # null: the AUCs of all languages together
        required("benchmark", pa.string()),
        required("subset", pa.string()),
        required("spearman", pa.float64()),  # of AUC and -bits per byte, over the arms' means
        pa.field("low", pa.float64()),  # of its 95 % interval; null: too few distinct resamples
        pa.field("high", pa.float64()),
        required("num_arms", pa.int64()),
        required("num_seeds", pa.int64()),
    ]
)
"""`experiment_comparisons`, table `correlations`: whether a better AUC goes with a better arm."""

COMPARISON = pa.schema(
    [
        required("experiment", pa.string()),
        required("arm", pa.string()),
        required("baseline", pa.string()),
        required("is_control", pa.bool_()),  # two draws of the same arm
        required("benchmark", pa.string()),
        required("subset", pa.string()),
        required("difference", pa.float64()),  # bits per byte, arm - baseline
        required("low", pa.float64()),  # of its 95 % interval
        required("high", pa.float64()),
        required("num_seeds", pa.int64()),
        required("num_texts", pa.int64()),
        required("noise", pa.float64()),  # the control's absolute difference
        required("min_difference", pa.float64()),
        required("outcome", pa.string()),  # better, worse or undecided
    ]
)
"""`experiment_comparisons`, table `comparisons`: paired differences and what they decide."""
