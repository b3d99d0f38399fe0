"""Config of the model: its size, packing, the pretraining phases, evaluation."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import StringConstraints, model_serializer

from snow_assets.recipe.validation import (
    Count,
    Distinct,
    FinalLearningRate,
    Fraction,
    LearningRate,
    Name,
    OptionalSize,
    PositiveFloat,
    PositiveFraction,
    RecipeSection,
    Seed,
    SingleProcessGpus,
    Threads,
    WeightDecay,
    require,
)

PhaseName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Also the first part of the names of the phase's assets."""
Dataset = Literal["clean", "high_quality", "synthetic"]
"""Every clean document, in `max_passes` passes; the selected documents, each in as many passes as
its repeats; the accepted synthetic files, in `max_passes` passes."""

Attention = Literal["causal", "document", "repository"]
"""What a token attends to: all earlier tokens of its sequence, or those of its own document or
repository, whose positions then start at 0."""

Width = Annotated[int, Ge(1), Le(2**20)]
Momentum = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class ModelRecipe(RecipeSection):
    """A Llama-style decoder with tied embeddings."""

    hidden_size: Width
    intermediate_size: Width
    num_hidden_layers: Annotated[int, Ge(1), Le(1_024)]
    num_attention_heads: Annotated[int, Ge(1), Le(1_024)]
    num_key_value_heads: Annotated[int, Ge(1), Le(1_024)]
    max_seq_len: Annotated[int, Ge(2), Le(2**24)]
    rope_theta: Annotated[float, Ge(1), Le(1e12)]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.hidden_size % self.num_attention_heads == 0,
            f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads",
        )
        require(
            self.hidden_size // self.num_attention_heads >= 64,
            f"head size {self.hidden_size // self.num_attention_heads} is below 64, the smallest "
            "that vLLM serves",
        )
        require(
            self.num_attention_heads % self.num_key_value_heads == 0,
            f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads "
            f"{self.num_key_value_heads}",
        )


@dataclass(frozen=True, kw_only=True)
class PackingRecipe(RecipeSection):
    fill_in_the_middle_rate: Fraction
    repository_tokens: bool
    file_order: Literal["random", "path"]
    shard_sequences: Count  # per file
    bucket_tokens: Count  # in memory at a time; at most, but for a repository, and 64 million
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class PhaseRecipe(RecipeSection):
    """A pretraining phase: warm-up from 0 to `peak_learning_rate`, then decay by `schedule`.

    The assets `NAME_packs` and `NAME_checkpoint` follow from it.
    """

    name: PhaseName
    data: Annotated[tuple[Dataset, ...], MinLen(1), Distinct]  # several: their mix, by tokens
    parent: PhaseName | None = None  # an earlier phase; None: the previous one, if any
    tokens: Count  # exact
    global_batch_size: Count
    peak_learning_rate: LearningRate
    final_learning_rate: FinalLearningRate
    schedule: Literal["cosine", "linear"]
    warmup_fraction: Annotated[float, Ge(0), Lt(1)]  # of the steps
    python_fraction: Fraction | None  # None: the languages' own proportions
    python_shortfall: Literal["refuse", "fill"]
    """If Python, or the other languages in total, has too few tokens for its share even with
    `max_passes`: refuse, or fill the gap with the other part and record it."""
    max_passes: Annotated[int, Ge(1), Le(1_000)]
    checkpoint_steps: Count
    attention: Attention = "causal"

    @model_serializer(mode="wrap")
    def _without_default(self, serialize: Any) -> dict[str, Any]:
        """Leave out causal attention: fingerprints and requests from before it was a value stay."""
        values: dict[str, Any] = serialize(self)
        if self.attention == "causal":
            del values["attention"]
        return values

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.final_learning_rate <= self.peak_learning_rate,
            f"final_learning_rate {self.final_learning_rate} is above the peak",
        )
        require(
            self.data == ("clean",) or "clean" not in self.data,
            f"phase {self.name}: all clean text holds the subset's documents, and would outweigh "
            "synthetic ones by its size: it is mixed with no other data",
        )


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe(RecipeSection):
    model: ModelRecipe
    packing: PackingRecipe
    phases: Annotated[tuple[PhaseRecipe, ...], MinLen(1)]  # in the order of training
    precision: Literal["fp32", "bf16"]  # bf16: of products; weights and optimizer stay fp32
    beta1: Momentum
    beta2: Momentum
    weight_decay: WeightDecay
    max_grad_norm: Annotated[float, Gt(0), Le(1e6)]
    spike_window_steps: Annotated[int, Ge(2), Le(100_000)]
    """A step is skipped if its loss or gradient norm exceeds the mean of the last so many applied
    steps by `spike_sigma` standard deviations; the first half of a window is accepted. A step whose
    loss or gradient is not finite is skipped always."""
    spike_sigma: PositiveFloat
    rollback_after_skipped_steps: Count
    """After so many skipped steps in a row the run returns to the weights of a checkpoint before
    them and passes over the batches since then."""
    max_rollbacks: OptionalSize  # of a phase; then it fails
    seed: Seed

    def __post_init__(self) -> None:
        super().__post_init__()
        context = self.model.max_seq_len
        earlier: list[str] = []
        for phase in self.phases:
            name = phase.name
            require(name not in earlier, f"two phases are named {name}")
            require(
                phase.parent is None or phase.parent in earlier,
                f"{name}: the parent {phase.parent} is no earlier phase; those are {earlier}",
            )
            require(
                phase.attention != "repository" or self.packing.repository_tokens,
                f"{name}: attention within repositories needs packing.repository_tokens, which "
                "mark where a repository ends",
            )
            earlier.append(name)
            step = phase.global_batch_size * context
            require(
                phase.tokens % step == 0,
                f"{name}: {phase.tokens} tokens are no whole number of steps of "
                f"{phase.global_batch_size} x {context}; the nearest is "
                f"{max(1, round(phase.tokens / step)) * step}",
            )

    def phase(self, name: str) -> PhaseRecipe:
        """The phase of a name; ValueError if the recipe has none."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        names = ", ".join(phase.name for phase in self.phases)
        raise ValueError(f"the recipe has no pretraining phase {name}: it has {names}")


@dataclass(frozen=True, kw_only=True)
class SamplingRecipe(RecipeSection):
    """Sampled completions, beside the greedy ones: `num_samples` of each problem."""

    temperature: Annotated[float, Gt(0), Le(100)]
    top_p: PositiveFraction
    num_samples: Annotated[int, Ge(1), Le(10_000)]
    pass_at: Annotated[tuple[Count, ...], MinLen(1), Distinct]  # the k of pass@k
    reproducible: bool
    """Whether each problem has a sampling seed of its own and parts run one after another, as in
    SynthesisRecipe."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            max(self.pass_at) <= self.num_samples,
            f"pass@{max(self.pass_at)} needs as many samples of each problem, and num_samples is "
            f"{self.num_samples}",
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationRecipe(RecipeSection):
    benchmarks: Annotated[tuple[Name, ...], MinLen(1), Distinct]  # of corpus/benchmarks
    held_out_documents_per_language: Count
    max_document_bytes: Count  # documents are truncated, so that a huge one cannot dominate
    stride_tokens: Count  # each window of the context scores this many new tokens
    batch_windows: Count
    bootstrap_resamples: Annotated[int, Ge(1), Le(10_000_000)]
    min_bootstrap_repositories: OptionalSize  # with fewer, documents are resampled instead
    max_problems: Count | None  # of each benchmark; None: all; else chosen by hash
    max_new_tokens: Count
    part_problems: Count  # completed and written together: lost at most by a kill
    sampling: SamplingRecipe | None  # None: greedy completions only
    timeout_seconds: Annotated[float, Gt(0), Le(86_400)]  # minimum; see timeout_factor
    timeout_factor: Annotated[float, Ge(1), Le(1e6)]  # times the slowest solution of a kind of test
    max_timeout_fraction: Fraction  # of the completions; above it the limit distorts the result
    threads: Threads  # of a CPU: sums depend on it; a tiny model is fastest with 1
    gpus: SingleProcessGpus  # 0: a CPU
    seed: Seed
