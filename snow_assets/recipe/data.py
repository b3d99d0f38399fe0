"""What decides over documents: sources, curation, annotator, selection, synthesis."""

from dataclasses import dataclass
from typing import Literal


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One snapshot of code; its name is a partition, so a new snapshot needs a new name."""

    name: str
    kind: Literal["distributions", "folder", "archives", "stack_v3", "rows"]
    """distributions: installed Python distributions (`stdlib` = the standard library).
    folder: a folder of repositories. archives: tar, zip, wheel, npm tgz, a repository each.
    stack_v3: Parquet or JSONL, a row per repository with its files inline. rows: Parquet or
    JSONL, a row per file with `content`."""
    locations: tuple[str, ...]
    files_per_repository: int | None  # of each language, a sample by hash of the name; None: all

    def __post_init__(self) -> None:
        require(
            self.name.replace("-", "").replace("_", "").replace(".", "").isalnum(),
            f"source name {self.name!r} is a folder's name: use letters, digits, '-', '_', '.'",
        )
        require(bool(self.locations), f"source {self.name!r} names no locations")
        require(
            self.files_per_repository is None or self.files_per_repository > 0,
            f"source {self.name!r}: files_per_repository {self.files_per_repository} takes none",
        )


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What an archive may unpack to; one that exceeds a limit is refused as a whole."""

    max_bytes: int
    max_ratio: float  # unpacked to packed; deflate cannot exceed 1032, real source stays below 20
    max_members: int
    max_depth: int  # folders in a member's name
    max_name_bytes: int


@dataclass(frozen=True, kw_only=True)
class CorpusRecipe:
    sources: tuple[Source, ...]
    permissive_licenses: tuple[str, ...]  # SPDX; everything else is dropped
    opt_out_list: str  # a file with a repository per line, relative to the checkout
    max_file_bytes: int
    archives: ArchiveLimits
    min_repositories: int  # fewer in all sources together is a fault of the set-up
    shard_bytes: int

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        require(len(set(names)) == len(names), f"two sources share a name: {names}")
        require(
            self.max_file_bytes <= self.shard_bytes,
            f"max_file_bytes {self.max_file_bytes} exceeds shard_bytes {self.shard_bytes}",
        )


@dataclass(frozen=True, kw_only=True)
class ExemplarRecipe:
    repositories: tuple[str, ...]  # distributions; they never enter the corpus
    files_per_repository: int
    min_docstring_chars: int  # docstring-to-function pairs below it say too little


@dataclass(frozen=True, kw_only=True)
class RulesRecipe:
    """StarCoder2's thresholds (arXiv 2402.19173): compared with stored signals, late."""

    max_lines: int
    max_mean_line_chars: float
    max_line_chars: int
    max_line_chars_of_text: int  # of the languages that only the longest line can drop
    min_alphabetic_share: float
    max_encoded_chars: int
    max_encoded_share: float
    max_data_lines: int  # JSON, YAML, text
    drop_unparsable: bool


@dataclass(frozen=True, kw_only=True)
class NearDuplicatesRecipe:
    shingle_words: int
    bands: int
    rows_per_band: int
    min_jaccard: float

    def __post_init__(self) -> None:
        require(0 < self.min_jaccard <= 1, f"min_jaccard {self.min_jaccard} is not in (0, 1]")
        require(self.bands * self.rows_per_band <= 256, "more than 256 hashes are not computed")


@dataclass(frozen=True, kw_only=True)
class ContaminationRecipe:
    ngram_words: int
    min_ngram_chars: int  # of its words together; less says too little (`for i in range`)
    min_substring_chars: int  # white space removed; shorter problem texts match by accident
    gate_window_tokens: int  # the gate's own matcher: normalised tokens that must agree in a row


@dataclass(frozen=True, kw_only=True)
class TokenizerRecipe:
    given: str | None  # a folder with a tokenizer.json; None: train a byte-level BPE
    vocabulary: int
    sample_bytes: int


@dataclass(frozen=True, kw_only=True)
class CurationRecipe:
    languages: tuple[str, ...]
    rules: RulesRecipe
    near_duplicates: NearDuplicatesRecipe
    contamination: ContaminationRecipe
    tokenizer: TokenizerRecipe
    held_out_share: float  # of repositories, by hash
    seed: int

    def __post_init__(self) -> None:
        require(
            len(set(self.languages)) == len(self.languages) > 0,
            f"languages must be different and at least one, not {self.languages}",
        )
        require(
            0 < self.held_out_share < 1, f"held_out_share {self.held_out_share} is not in (0, 1)"
        )


@dataclass(frozen=True, kw_only=True)
class AnnotatorRecipe:
    encoder: str
    """A BERT-style encoder: `package:NAME` (the folder that an installed package carries), or a
    folder with config, tokenizer and safetensors."""
    pooling: Literal["cls", "mean"]
    window_tokens: int
    precision: Literal["fp32", "fp16", "bf16", "int16"]
    """Of the encoder: a GPU's floats, or a CPU's integers. Head and scores are fp32."""
    batch_tokens: int
    max_positives: int
    negatives_per_positive: float  # in training
    validation_share: float  # of repositories, by hash
    validation_negatives: int  # unseen random files; more of them narrow the gate's intervals
    length_match_ratio: float  # a length-matched negative is at most so much longer or shorter
    batch_examples: int
    epochs: int
    learning_rate: float
    weight_decay: float
    min_auc: float  # lower 95 % bound on held-out examples
    min_length_matched_auc: float
    min_benchmark_auc: float
    part_texts: int  # scored between two atomic writes, so a kill costs at most so many
    threads: int  # of a job's CPU, each with a batch of its own: vectors do not depend on it
    gpus: int
    seed: int

    def __post_init__(self) -> None:
        require(
            self.length_match_ratio > 1,
            f"length_match_ratio {self.length_match_ratio} must be above 1",
        )
        require(
            0 < self.validation_share < 1,
            f"validation_share {self.validation_share} is not in (0, 1)",
        )
        require(
            32 <= self.window_tokens <= 512,
            f"window_tokens {self.window_tokens}: BERT-style encoders read 32 to 512",
        )
        require(
            self.batch_tokens >= self.window_tokens,
            f"batch_tokens {self.batch_tokens} is below one window of {self.window_tokens}",
        )


@dataclass(frozen=True, kw_only=True)
class SelectionRecipe:
    """Percentile -> repeats within each language: rank above `percentiles[i]` -> `repeats[i]`.

    "Top 3.1 % x 4" is `percentiles=(0.969,), repeats=(4,)` with a budget; a curve has more steps.
    """

    budget_tokens: int  # repeats included; shared among languages by their raw tokens
    percentiles: tuple[float, ...]  # rising; a document below the first is not selected
    repeats: tuple[int, ...]
    max_repeats: int
    fill: Literal["budget", "percentile"]
    """budget: take from the top until the budget is full (the paper); the percentiles then say
    only how often. percentile: take every document above the first percentile."""

    def __post_init__(self) -> None:
        require(
            len(self.percentiles) == len(self.repeats) > 0,
            f"{len(self.percentiles)} percentiles need as many repeats, not {len(self.repeats)}",
        )
        require(
            list(self.percentiles) == sorted(set(self.percentiles)),
            f"percentiles must rise: {self.percentiles}",
        )
        require(
            max(self.repeats) <= self.max_repeats,
            f"repeats {self.repeats} exceed max_repeats {self.max_repeats}",
        )


@dataclass(frozen=True, kw_only=True)
class SynthesisRecipe:
    engine: Literal["vllm", "endpoint"]
    model: str  # `gguf-package:NAME`, a Hugging Face folder, or the endpoint's model name
    requests: int
    python_share: float
    seed_lines: int  # at most; OSS-Instruct takes 1 to 15 consecutive lines
    max_new_tokens: int
    temperature: float
    top_p: float
    max_model_tokens: int
    chunk_requests: int  # an atomic part each, so a kill costs at most one
    gpus: int  # that vLLM asks for; 0: a CPU
    seed: int

    def __post_init__(self) -> None:
        require(
            self.max_new_tokens < self.max_model_tokens,
            f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt "
            f"in max_model_tokens {self.max_model_tokens}",
        )


@dataclass(frozen=True, kw_only=True)
class AcceptanceRecipe:
    """Which of the teacher's answers are taken; another number here asks nothing again."""

    min_tokens: int
    max_jaccard: (
        float  # with its seed, and among the accepted; shingles as near_duplicates has them
    )

    def __post_init__(self) -> None:
        require(0 < self.max_jaccard <= 1, f"max_jaccard {self.max_jaccard} is not in (0, 1]")
