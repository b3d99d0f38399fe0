"""What a pretraining job is asked, and what it reports."""

from dataclasses import dataclass
from typing import Literal

from snow_assets.recipe import ModelRecipe, PhaseRecipe, PretrainingRecipe

RESUME = "resume"
"""The folder in the output's generation from which a killed job goes on; not part of it."""


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """The numbers that all phases share."""

    precision: Literal["fp32", "bf16"]
    micro_batch_sequences: int
    threads: int
    beta1: float
    beta2: float
    weight_decay: float
    gradient_clip: float
    seed: int


def optimization(recipe: PretrainingRecipe) -> Optimization:
    """The part of the recipe that every phase reads."""
    return Optimization(
        precision=recipe.precision,
        micro_batch_sequences=recipe.micro_batch_sequences,
        threads=recipe.threads,
        beta1=recipe.beta1,
        beta2=recipe.beta2,
        weight_decay=recipe.weight_decay,
        gradient_clip=recipe.gradient_clip,
        seed=recipe.seed,
    )


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Train on every sequence of `packs` once, from `parent` (None: from random weights)."""

    phase: str  # its name chooses the order of the sequences, beside the seed
    packs: str
    tokenizer: str
    parent: str | None  # a checkpoint's generation
    output: str
    model: ModelRecipe
    recipe: PhaseRecipe
    optimization: Optimization


@dataclass(frozen=True, kw_only=True)
class PretrainingReport:
    """What one phase came to. Losses are in bits per token, of the first and the last step."""

    steps: int
    sequences: int
    tokens: int
    parameters: int
    first_loss_bits: float
    last_loss_bits: float
    device: str
    seconds: float  # of this attempt's steps, without start and output
    resumed_from: int  # the step that a killed attempt had saved; 0: a fresh start
