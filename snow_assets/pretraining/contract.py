"""Request and report of a pretraining job."""

from dataclasses import dataclass
from typing import Literal

from snow_assets.recipe import ModelRecipe, PhaseRecipe, PretrainingRecipe

RESUME = "resume"
"""Folder in the output artifact with the checkpoint to resume from; deleted when finished."""


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Optimizer and precision config, shared by all phases."""

    precision: Literal["fp32", "bf16"]
    micro_batch_size: int
    threads: int
    beta1: float
    beta2: float
    weight_decay: float
    max_grad_norm: float
    seed: int


def optimization(recipe: PretrainingRecipe) -> Optimization:
    """The optimization config of a recipe."""
    return Optimization(
        precision=recipe.precision,
        micro_batch_size=recipe.micro_batch_size,
        threads=recipe.threads,
        beta1=recipe.beta1,
        beta2=recipe.beta2,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
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


@dataclass(frozen=True, kw_only=True)
class PretrainingReport:
    """Result of one phase. Losses are in bits per token, of the first and the last step."""

    steps: int
    sequences: int
    tokens: int
    parameters: int
    first_loss_bits: float
    last_loss_bits: float
    device: str
    seconds: float  # of this attempt's steps, without startup and output
    resumed_from: int  # step of the checkpoint that this attempt resumed from; 0: none
