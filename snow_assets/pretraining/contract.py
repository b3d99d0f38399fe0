"""Request and report of a pretraining job."""

from dataclasses import dataclass
from typing import Literal

from snow_assets.recipe import ModelRecipe, PhaseRecipe, PretrainingExecution, PretrainingRecipe

RESUME = "resume"
"""Folder in the output artifact with the checkpoints to resume from; deleted when finished."""

EXECUTION_FIELDS = frozenset({"execution", "planned_seconds"})
"""Fields of the request that change how fast a phase is trained or what its log says, and not what
it learns: neither the job nor its checkpoints are identified by them."""

VALIDATION_PREFIX = "validation_bits_per_byte/"
"""Of the metrics that name a language after it."""


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Optimizer and precision config, shared by all phases."""

    precision: Literal["fp32", "bf16"]
    beta1: float
    beta2: float
    weight_decay: float
    max_grad_norm: float
    spike_window_steps: int
    spike_sigma: float
    rollback_after_skipped_steps: int
    max_rollbacks: int
    seed: int


def optimization(recipe: PretrainingRecipe) -> Optimization:
    """The optimization config of a recipe."""
    return Optimization(
        precision=recipe.precision,
        beta1=recipe.beta1,
        beta2=recipe.beta2,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        spike_window_steps=recipe.spike_window_steps,
        spike_sigma=recipe.spike_sigma,
        rollback_after_skipped_steps=recipe.rollback_after_skipped_steps,
        max_rollbacks=recipe.max_rollbacks,
        seed=recipe.seed,
    )


@dataclass(frozen=True, kw_only=True)
class PretrainingRequest:
    """Train on every sequence of `packs` once, from `parent` (None: from random weights)."""

    packs: str
    tokenizer: str
    parent: str | None  # a checkpoint artifact
    output: str
    model: ModelRecipe
    recipe: PhaseRecipe  # its name and `optimization.seed` seed the order of the sequences
    optimization: Optimization
    execution: PretrainingExecution
    planned_seconds: float | None = None  # of the phase, to compare the remaining time with


@dataclass(frozen=True, kw_only=True)
class PretrainingReport:
    """Result of one phase. Losses are in bits per token, of the first and the last applied step.

    Every step consumes its batch of the order. `sequences` and `tokens` count only what the weights
    have learned from: not the batches of `skipped_steps`, nor those of steps that a rollback undid.
    """

    steps: int
    sequences: int
    tokens: int
    parameters: int
    first_loss_bits: float
    last_loss_bits: float
    skipped_steps: int
    rollbacks: int
    rolled_back_steps: int
    device: str
    seconds: float  # of this attempt's steps, without startup and output
    resumed_from: int  # step of the checkpoint that this attempt resumed from; 0: none
