"""Tables of quality: the annotator's examples, gates and scores, and what is selected by them."""

import pyarrow as pa

from snow_assets.storage.schemas.fields import required

EXAMPLE = pa.schema(
    [
        required("text_id", pa.string()),
        required("is_positive", pa.bool_()),
        required("repository", pa.string()),
        required("language", pa.string()),
        required("split", pa.string()),  # train or validation, by repository
        pa.field("matches", pa.string()),  # a positive's text_id: this negative is as long
        pa.field("group", pa.string()),  # of a positive
        required("weight", pa.float64()),  # in the head's loss
        required("text", pa.string()),
    ]
)
"""`annotator_examples`, table `examples`. A text stands here twice if it is drawn at random and
matches a positive, too; such a match is for validation only."""

GRADED_TEXT = pa.schema(
    [
        required("text_id", pa.string()),
        required("table", pa.string()),  # of the recipe's annotator.grades
        required("repository", pa.string()),  # of a row's own text: TABLE/PART
        required("path", pa.string()),
        required("language", pa.string()),
        required("grade", pa.float64()),  # 0 to 5, the mean of the text's rows
        required("num_grades", pa.int64()),
        required("grader", pa.string()),  # human, or a model's name
        pa.field("rubric", pa.string()),
        required("text", pa.string()),
    ]
)
"""`graded_texts`, table `texts`: what an annotator learns grades from, each text once."""

GRADED_EXAMPLE = pa.schema(
    [
        *(GRADED_TEXT.field(name) for name in ("text_id", "table", "repository", "language")),
        required("split", pa.string()),  # train or validation, by repository
        required("grade", pa.float64()),
        required("weight", pa.float64()),  # in the head's loss
        required("text", pa.string()),
    ]
)
"""`annotator_examples`, table `graded_examples`: only where grades are the annotator's target."""

GRADED_VALIDATION = pa.schema(
    [
        *(GRADED_TEXT.field(name) for name in ("text_id", "table", "language")),
        required("grade", pa.float64()),
        required("logit", pa.float32()),
    ]
)
"""`quality_annotator`, table `graded_validation`: held-out grades beside predicted ones."""

RANK_CORRELATION = pa.schema(
    [
        required("annotator", pa.string()),  # annotator version
        pa.field("language", pa.string()),  # null: all languages together
        required("graders", pa.string()),
        pa.field("rank_correlation", pa.float64()),  # null: too few texts
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        required("num_texts", pa.int64()),
        required("minimum", pa.float64()),  # of the lower bound
        required("passed", pa.bool_()),
    ]
)
"""`quality_annotator`, table `rank_correlations`: only where grades are its target."""

ANNOTATOR_VALIDATION = pa.schema(
    [
        required("text_id", pa.string()),
        required("role", pa.string()),  # positive, random, length_matched, (un)validation_solution
        required("language", pa.string()),
        pa.field("matches", pa.string()),
        required("logit", pa.float32()),
    ]
)
"""`quality_annotator`, table `validation`: what its gate is computed from."""

ANNOTATOR_GATE = pa.schema(
    [
        required("annotator", pa.string()),  # annotator version
        pa.field("language", pa.string()),  # null: all languages together
        required("gate", pa.string()),
        pa.field("auc", pa.float64()),  # null: too few texts
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        required("num_positives", pa.int64()),
        required("num_negatives", pa.int64()),
        pa.field("minimum", pa.float64()),  # of the lower bound; null: reported, not gated
        required("passed", pa.bool_()),
    ]
)
"""`quality_annotator`, table `gates`: AUCs of all languages together, and of each language."""

SCORE = pa.schema(
    [
        required("text_id", pa.string()),
        required("annotator", pa.string()),  # annotator version
        required("logit", pa.float32()),  # the mean of the windows' logits
        required("top_logit", pa.float32()),
        pa.field("middle_logit", pa.float32()),
        pa.field("bottom_logit", pa.float32()),
        required("num_windows", pa.int32()),
    ]
)
"""`quality_scores`, table `scores`: a row per text and annotator version."""

SELECTION = pa.schema(
    [
        required("document_id", pa.string()),
        required("text_id", pa.string()),
        required("repository", pa.string()),
        required("license", pa.string()),
        required("num_tokens", pa.int64()),
        required("logit", pa.float32()),
        required("percentile", pa.float64()),  # share of the language's tokens that score lower
        required("repeats", pa.int32()),  # 0: not selected
    ]
)
"""`high_quality_subset`, table `documents`: every trainable document of a language, ranked."""

LANGUAGE_SELECTION = pa.schema(
    [
        required("language", pa.string()),
        required("annotator", pa.string()),  # annotator version
        required("selected", pa.bool_()),
        pa.field("gate_failures", pa.string()),  # null: the language's gates passed
        required("budget_tokens", pa.int64()),
        required("selected_tokens", pa.int64()),  # repeats included
    ]
)
"""`high_quality_subset`, table `languages`: whether the annotator's gates let it select."""
