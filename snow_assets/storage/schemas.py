"""The row types that travel between stages, as Arrow schemas.

An artifact (see `shards`) holds one or more tables; each schema here is one table. A name that
ends in `_id` is a sha256 in hexadecimal. `document_id` names one file of one repository in one
source; `raw_id` its bytes as received; `text_id` its redacted text, so that copies share it.
"""

import hashlib

import pyarrow as pa


def document_id(source: str, repository: str, path: str, raw_id: str) -> str:
    """Name one received file: the same file of the same snapshot always has the same name."""
    return hashlib.sha256("\0".join((source, repository, path, raw_id)).encode()).hexdigest()


def text_id(text: str) -> str:
    """Name a text by its content (UTF-8; a lone surrogate is an error of the caller)."""
    return hashlib.sha256(text.encode()).hexdigest()


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def without(schema: pa.Schema, *columns: str) -> pa.Schema:
    """A schema without optional columns, which readers take for null."""
    return pa.schema([field for field in schema if field.name not in columns])


_PROVENANCE = [
    _required("document_id", pa.string()),
    _required("raw_id", pa.string()),
    _required("source", pa.string()),
    _required("repository", pa.string()),
    _required("revision", pa.string()),
    _required("path", pa.string()),
    _required("license", pa.string()),  # SPDX, of the allow-list; several that apply: A AND B
]

RAW_FILE = pa.schema(
    [
        *_PROVENANCE,
        pa.field("license_evidence", pa.string()),
        pa.field("copyright_notices", pa.list_(pa.string())),  # of the licence files that decided
        _required("content", pa.binary()),
    ]
)
"""`raw_code_corpus`, table `files`: admitted files, bytes as received."""

DROP = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("source", pa.string()),
        _required("repository", pa.string()),
        _required("path", pa.string()),
        pa.field("language", pa.string()),
        _required("num_bytes", pa.int64()),
        _required("reason", pa.string()),
        pa.field("evidence", pa.string()),
    ]
)
"""Table `drops` of `raw_code_corpus`, `documents` and `exemplars`: a file that went no further."""

SIGNALS = [
    _required("num_bytes", pa.int64()),
    _required("num_chars", pa.int64()),
    _required("num_lines", pa.int64()),
    _required("mean_line_chars", pa.float64()),
    _required("max_line_chars", pa.int64()),
    _required("alphabetic_share", pa.float64()),
    _required("alphanumeric_share", pa.float64()),
    _required("longest_encoded_chars", pa.int64()),  # longest base64, hex or \\u run
    _required("encoded_share", pa.float64()),
    _required("is_generated", pa.bool_()),
    pa.field("parses", pa.bool_()),  # Python only: `ast` accepts it; else True; null: not asked
    _required("num_redacted_emails", pa.int64()),
    _required("num_redacted_keys", pa.int64()),
    _required("num_redacted_passwords", pa.int64()),
]

DOCUMENT = pa.schema(
    [
        *_PROVENANCE,
        _required("text_id", pa.string()),
        _required("language", pa.string()),
        _required("text", pa.string()),
        *SIGNALS,
    ]
)
"""`documents`, table `documents`: redacted text, written once, with its signals beside it."""

DUPLICATE_PAIR = pa.schema(
    [
        _required("text_id", pa.string()),
        _required("other_text_id", pa.string()),
        _required("jaccard", pa.float64()),
    ]
)
"""`near_duplicates`, table `pairs`: verified pairs, text_id < other_text_id."""

DUPLICATE_CLUSTER = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("text_id", pa.string()),
        _required("cluster_id", pa.string()),  # the canonical document's document_id
        _required("is_canonical", pa.bool_()),
        pa.field("kind", pa.string()),  # exact or near; null for a canonical document
        pa.field("jaccard", pa.float64()),  # with the nearest verified neighbour
    ]
)
"""`near_duplicates`, table `clusters`: a row per document that reached deduplication."""

HELD_OUT_REPOSITORY = pa.schema([_required("repository", pa.string())])
"""`held_out_repositories`, table `repositories`: those with documents in a language, in the order
of their names; a shard for each language that has any."""

CONTAMINATION = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("text_id", pa.string()),
        _required("problem_id", pa.string()),
        _required("method", pa.string()),  # substring, ngram, renamed or description
        _required("evidence", pa.string()),
    ]
)
"""`contamination`, table `hits`: a row per document, benchmark problem and method."""

DECISION = pa.schema(
    [
        *_PROVENANCE,
        _required("text_id", pa.string()),
        _required("language", pa.string()),
        _required("num_bytes", pa.int64()),
        _required("kept", pa.bool_()),
        pa.field("reason", pa.string()),  # null when kept
        pa.field("evidence", pa.string()),  # of a kept document: why it is exempt
        pa.field("cluster_id", pa.string()),
        pa.field("split", pa.string()),  # train or held_out; null when dropped
        pa.field("num_tokens", pa.int64()),  # null when dropped
    ]
)
"""`clean_corpus`, table `decisions`: every document of a language, kept or not, and why."""

BENCHMARK_PROBLEM = pa.schema(
    [
        _required("problem_id", pa.string()),
        _required("benchmark", pa.string()),
        _required("prompt", pa.string()),
        _required("solution", pa.string()),
        _required("test", pa.string()),
        _required("entry_point", pa.string()),
        _required("is_validation", pa.bool_()),  # what the annotator's gate reads
    ]
)
"""`benchmark_problems`, table `problems`."""

EXEMPLAR = pa.schema(
    [
        _required("text_id", pa.string()),
        _required("group", pa.string()),  # of the recipe's exemplars.groups
        _required("kind", pa.string()),  # file or instruction
        _required("repository", pa.string()),  # of a table's row: GROUP/PART
        _required("path", pa.string()),
        _required("license", pa.string()),
        _required("language", pa.string()),
        _required("text", pa.string()),
    ]
)
"""`exemplars`, table `exemplars`: code that the annotator learns to call good."""

EXAMPLE = pa.schema(
    [
        _required("text_id", pa.string()),
        _required("is_positive", pa.bool_()),
        _required("repository", pa.string()),
        _required("language", pa.string()),
        _required("split", pa.string()),  # train or validation, by repository
        pa.field("matches", pa.string()),  # a positive's text_id: this negative is as long
        pa.field("group", pa.string()),  # of a positive
        _required("weight", pa.float64()),  # in the head's loss
        _required("text", pa.string()),
    ]
)
"""`annotator_examples`, table `examples`. A text stands here twice if it is drawn at random and
matches a positive, too; such a match is for validation only."""

GRADED_TEXT = pa.schema(
    [
        _required("text_id", pa.string()),
        _required("table", pa.string()),  # of the recipe's annotator.grades
        _required("repository", pa.string()),  # of a row's own text: TABLE/PART
        _required("path", pa.string()),
        _required("language", pa.string()),
        _required("grade", pa.float64()),  # 0 to 5, the mean of the text's rows
        _required("num_grades", pa.int64()),
        _required("grader", pa.string()),  # human, or a model's name
        pa.field("rubric", pa.string()),
        _required("text", pa.string()),
    ]
)
"""`graded_texts`, table `texts`: what an annotator learns grades from, each text once."""

GRADED_EXAMPLE = pa.schema(
    [
        *(GRADED_TEXT.field(name) for name in ("text_id", "table", "repository", "language")),
        _required("split", pa.string()),  # train or validation, by repository
        _required("grade", pa.float64()),
        _required("weight", pa.float64()),  # in the head's loss
        _required("text", pa.string()),
    ]
)
"""`annotator_examples`, table `graded_examples`: only where grades are the annotator's target."""

GRADED_VALIDATION = pa.schema(
    [
        *(GRADED_TEXT.field(name) for name in ("text_id", "table", "language")),
        _required("grade", pa.float64()),
        _required("logit", pa.float32()),
    ]
)
"""`quality_annotator`, table `graded_validation`: held-out grades beside predicted ones."""

RANK_CORRELATION = pa.schema(
    [
        _required("annotator", pa.string()),  # annotator version
        pa.field("language", pa.string()),  # null: all languages together
        _required("graders", pa.string()),
        pa.field("rank_correlation", pa.float64()),  # null: too few texts
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        _required("num_texts", pa.int64()),
        _required("minimum", pa.float64()),  # of the lower bound
        _required("passed", pa.bool_()),
    ]
)
"""`quality_annotator`, table `rank_correlations`: only where grades are its target."""

ANNOTATOR_VALIDATION = pa.schema(
    [
        _required("text_id", pa.string()),
        _required("role", pa.string()),  # positive, random, length_matched, (un)validation_solution
        _required("language", pa.string()),
        pa.field("matches", pa.string()),
        _required("logit", pa.float32()),
    ]
)
"""`quality_annotator`, table `validation`: what its gate is computed from."""

ANNOTATOR_GATE = pa.schema(
    [
        _required("annotator", pa.string()),  # annotator version
        pa.field("language", pa.string()),  # null: all languages together
        _required("gate", pa.string()),
        pa.field("auc", pa.float64()),  # null: too few texts
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        _required("num_positives", pa.int64()),
        _required("num_negatives", pa.int64()),
        pa.field("minimum", pa.float64()),  # of the lower bound; null: reported, not gated
        _required("passed", pa.bool_()),
    ]
)
"""`quality_annotator`, table `gates`: AUCs of all languages together, and of each language."""

SCORE = pa.schema(
    [
        _required("text_id", pa.string()),
        _required("annotator", pa.string()),  # annotator version
        _required("logit", pa.float32()),  # the mean of the windows' logits
        _required("top_logit", pa.float32()),
        pa.field("middle_logit", pa.float32()),
        pa.field("bottom_logit", pa.float32()),
        _required("num_windows", pa.int32()),
    ]
)
"""`quality_scores`, table `scores`: a row per text and annotator version."""

SELECTION = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("text_id", pa.string()),
        _required("repository", pa.string()),
        _required("license", pa.string()),
        _required("num_tokens", pa.int64()),
        _required("logit", pa.float32()),
        _required("percentile", pa.float64()),  # share of the language's tokens that score lower
        _required("repeats", pa.int32()),  # 0: not selected
    ]
)
"""`high_quality_subset`, table `documents`: every trainable document of a language, ranked."""

LANGUAGE_SELECTION = pa.schema(
    [
        _required("language", pa.string()),
        _required("annotator", pa.string()),  # annotator version
        _required("selected", pa.bool_()),
        pa.field("gate_failures", pa.string()),  # null: the language's gates passed
        _required("budget_tokens", pa.int64()),
        _required("selected_tokens", pa.int64()),  # repeats included
    ]
)
"""`high_quality_subset`, table `languages`: whether the annotator's gates let it select."""

_MODE = pa.field("mode", pa.string())  # SynthesisMode; absent if nothing is rewritten

SYNTHETIC_SEED = pa.schema(
    [
        _required("document_id", pa.string()),  # of the file that is asked for
        _required("language", pa.string()),
        _required("snippet", pa.string()),  # consecutive lines of the seed document, or all
        _required("seed_document_id", pa.string()),
        _required("seed_repository", pa.string()),
        _required("seed_license", pa.string()),
        _MODE,
    ]
)
"""`synthetic_answers`, table `seeds`: what was asked for, in order; a shard is a chunk."""

SYNTHETIC_ANSWER = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("answer", pa.string()),  # as the teacher wrote it
        _required("stop_reason", pa.string()),  # stop, length, or why nothing was generated
        pa.field("evidence", pa.string()),  # of a request that nothing was generated for
        _required("num_prompt_tokens", pa.int64()),  # both in the teacher's tokens
        _required("num_answer_tokens", pa.int64()),
        _required("engine", pa.string()),
    ]
)
"""`synthetic_answers`, table `answers`: a row per seed, before anything is judged."""

SYNTHETIC_DOCUMENT = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("text_id", pa.string()),
        _required("language", pa.string()),
        _required("text", pa.string()),
        _required("num_tokens", pa.int64()),
        _required("seed_document_id", pa.string()),
        _required("seed_repository", pa.string()),
        _required("seed_license", pa.string()),
        _required("prompt_version", pa.string()),
        _required("engine", pa.string()),
        _required("model", pa.string()),
        _required("model_license", pa.string()),  # the teacher's, beside the seed's
        _required("model_terms", pa.string()),
        _MODE,
        pa.field("execution", pa.string()),  # what ran in the sandbox; absent if nothing may
    ]
)
"""`synthetic_set`, table `documents`: accepted files, each with the seed it came from."""

SYNTHETIC_REFUSAL = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("language", pa.string()),
        _required("seed_document_id", pa.string()),
        _required("seed_repository", pa.string()),
        _required("reason", pa.string()),
        pa.field("evidence", pa.string()),
        _MODE,
    ]
)
"""`synthetic_set`, table `refusals`."""

SPAN = pa.schema(
    [
        _required("sequence", pa.int64()),
        _required("sequence_offset", pa.int64()),
        _required("length", pa.int64()),
        _required("document_id", pa.string()),
        _required("text_id", pa.string()),
        _required("document_offset", pa.int64()),
        _required("pass_index", pa.int32()),
        _required("language", pa.string()),
        _required("repository", pa.string()),
        _required("license", pa.string()),
    ]
)
"""Packs, table `spans`: which tokens of which document stand where, counted in tokens."""

LEAK = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("problem_id", pa.string()),
        _required("part", pa.string()),  # solution or description
        _required("evidence", pa.string()),
        _required("is_exempt", pa.bool_()),  # by the recipe's contamination_exemptions
    ]
)
"""Packs, table `leaks`: benchmark problems in the documents that a shard of tokens holds."""

SEEN = pa.schema(
    [
        _required("document_id", pa.string()),
        _required("text_id", pa.string()),
        _required("repository", pa.string()),
        _required("license", pa.string()),
        _required("language", pa.string()),
        _required("num_tokens", pa.int64()),
        _required("num_passes", pa.int32()),
    ]
)
"""Checkpoints, table `seen`: exactly which documents were trained on, and how much of each."""

ARM_RESULT = pa.schema(
    [
        _required("experiment", pa.string()),
        _required("arm", pa.string()),
        _required("seed", pa.int64()),
        _required("benchmark", pa.string()),  # held_out, or the problems' benchmark
        _required("subset", pa.string()),  # a language, or validation_half / test_half
        _required("bits_per_byte", pa.float64()),
        _required("num_texts", pa.int64()),
    ]
)
"""`experiment_arms`, table `arm_results`: what an arm scores with a seed."""

ARM_ANNOTATOR = pa.schema(
    [
        _required("experiment", pa.string()),
        _required("arm", pa.string()),
        _required("seed", pa.int64()),
        _required("annotator", pa.string()),  # its version
        _required("gate", pa.string()),
        pa.field("language", pa.string()),  # null: of all languages together
        pa.field("auc", pa.float64()),  # null: too few texts
        pa.field("low", pa.float64()),  # of its 95 % interval
        pa.field("high", pa.float64()),
        _required("num_positives", pa.int64()),
        _required("num_negatives", pa.int64()),
    ]
)
"""`experiment_arms`, table `arm_annotators`: the AUCs of the annotator that an arm selects by."""

ANNOTATOR_CORRELATION = pa.schema(
    [
        _required("experiment", pa.string()),
        _required("gate", pa.string()),
        pa.field("language", pa.string()),  # null: the AUCs of all languages together
        _required("benchmark", pa.string()),
        _required("subset", pa.string()),
        _required("spearman", pa.float64()),  # of AUC and -bits per byte, over the arms' means
        pa.field("low", pa.float64()),  # of its 95 % interval; null: too few distinct resamples
        pa.field("high", pa.float64()),
        _required("num_arms", pa.int64()),
        _required("num_seeds", pa.int64()),
    ]
)
"""`experiment_comparisons`, table `correlations`: whether a better AUC goes with a better arm."""

COMPARISON = pa.schema(
    [
        _required("experiment", pa.string()),
        _required("arm", pa.string()),
        _required("baseline", pa.string()),
        _required("is_control", pa.bool_()),  # two draws of the same arm
        _required("benchmark", pa.string()),
        _required("subset", pa.string()),
        _required("difference", pa.float64()),  # bits per byte, arm - baseline
        _required("low", pa.float64()),  # of its 95 % interval
        _required("high", pa.float64()),
        _required("num_seeds", pa.int64()),
        _required("num_texts", pa.int64()),
        _required("noise", pa.float64()),  # the control's absolute difference
        _required("min_difference", pa.float64()),
        _required("outcome", pa.string()),  # better, worse or undecided
    ]
)
"""`experiment_comparisons`, table `comparisons`: paired differences and what they decide."""

LIKELIHOOD = pa.schema(
    [
        _required("checkpoint", pa.string()),
        _required("benchmark", pa.string()),  # held_out, or the problems' benchmark
        _required("subset", pa.string()),  # a language, or validation_half / test_half
        _required("sample_id", pa.string()),  # a document's or a problem's id
        pa.field("repository", pa.string()),  # null for a problem
        _required("num_bytes", pa.int64()),  # UTF-8, of what was scored
        _required("num_tokens", pa.int64()),
        _required("nats", pa.float64()),
    ]
)
"""`benchmark_results`, table `likelihoods`: what a held-out text costs, for paired comparisons."""

COMPLETION = pa.schema(
    [
        _required("checkpoint", pa.string()),
        _required("problem_id", pa.string()),
        _required("decoding", pa.string()),  # greedy or sampled
        _required("sample_index", pa.int32()),  # of the problem's samples; 0 of greedy completions
        _required("completion", pa.string()),  # cut before the first stop sequence
        _required("stop_reason", pa.string()),  # end_of_text, stop_sequence or length
        _required("num_tokens", pa.int64()),  # generated, the stop included
        _required("num_stripped_newlines", pa.int32()),  # taken off the prompt's end
        _required("num_cut_prompt_tokens", pa.int32()),  # off its beginning, to fit the context
        _required("engine", pa.string()),
    ]
)
"""`benchmark_results`, table `completions`: a row per completion, before anything ran them."""

RESULT = pa.schema(
    [
        _required("checkpoint", pa.string()),
        _required("benchmark", pa.string()),
        # bits_per_byte, solution_bits_per_byte, pass_at_1 (greedy), sampled_pass_at_K
        _required("metric", pa.string()),
        _required("subset", pa.string()),  # a language, or validation_half / test_half
        pa.field("value", pa.float64()),  # null: not run, and `note` says why
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        _required("num_samples", pa.int64()),
        pa.field("note", pa.string()),
    ]
)
"""`benchmark_results`, table `results`."""

EXECUTION = pa.schema(
    [
        _required("checkpoint", pa.string()),
        _required("problem_id", pa.string()),
        _required("decoding", pa.string()),
        _required("sample_index", pa.int32()),
        _required("completion", pa.string()),
        _required("outcome", pa.string()),
        _required("isolation", pa.string()),
        pa.field("message", pa.string()),  # without addresses of memory: see `stable_message`
    ]
)
"""`benchmark_results`, table `executions`: programs that a checkpoint wrote, and how they ran.

No seconds: what a clock says enters no table, so that equal inputs give equal digests."""
