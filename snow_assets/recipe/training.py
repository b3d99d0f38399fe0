"""What decides over the model: its size, the packs, the three phases, evaluation."""

from dataclasses import dataclass
from typing import Literal

from snow_assets.recipe.data import require


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
        require(
            self.hidden_size % self.heads == 0,
            f"hidden_size {self.hidden_size} is no multiple of {self.heads} heads",
        )
        require(
            self.hidden_size // self.heads >= 64,
            f"head size {self.hidden_size // self.heads} is below 64, which vLLM serves at least",
        )
        require(
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
        require(
            self.shard_sequences > 0 and self.bucket_tokens > 0,
            f"shard_sequences {self.shard_sequences} and bucket_tokens {self.bucket_tokens} "
            "must be positive",
        )
        require(
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
        require(0 <= self.warmup_share < 1, f"warmup_share {self.warmup_share} is not in [0, 1)")
        require(
            self.python_share is None or 0 <= self.python_share <= 1,
            f"python_share {self.python_share} is not in [0, 1]",
        )
        require(
            self.max_passes > 0 and self.checkpoint_steps > 0,
            f"max_passes {self.max_passes} and checkpoint_steps {self.checkpoint_steps} "
            "must be positive",
        )
        require(
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
            require(
                phase.batch_sequences % micro == 0,
                f"{name}: batch_sequences {phase.batch_sequences} is no multiple of "
                f"micro_batch_sequences {micro}",
            )
            step = phase.batch_sequences * context
            require(
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
        require(self.stride_tokens > 0, f"stride_tokens {self.stride_tokens} is not positive")
        require(
            self.timeout_factor >= 1,
            f"timeout_factor {self.timeout_factor} is below 1: a canonical solution would time out",
        )
        require(
            0 <= self.max_timeout_share <= 1,
            f"max_timeout_share {self.max_timeout_share} is not in [0, 1]",
        )
