"""Comparisons: differences between arms with intervals over seeds and texts together.

Arms are paired by seed and text: both arms of a seed start from the same checkpoint and score the
same texts. Seeds and texts are resampled independently of each other (Owen 2007, "The pigeonhole
bootstrap"), which overestimates the variance rather than underestimating it. With few seeds a
percentile interval is too narrow; resampled differences are therefore scaled by sqrt(n / (n - 1))
around their mean, for n seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from snow_assets.recipe.experiments import Comparison, ExperimentRecipe

Outcome = Literal["better", "worse", "undecided"]
Floats = npt.NDArray[np.float64]

_TAILS = (2.5, 97.5)
_SEED = 0  # of the bootstrap


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Bits per byte of an arm minus those of its baseline; negative: the arm is better.

    `seed_differences` are those of each seed, in the experiment's order.
    """

    comparison: Comparison
    value: float
    low: float
    high: float
    num_texts: int
    seed_differences: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A comparison's difference, what noise alone does, and the outcome that follows."""

    difference: Difference
    noise: float  # the control's absolute difference, bits per byte
    outcome: Outcome


ArmTexts = Mapping[tuple[str, int], pl.DataFrame]
"""(arm, seed) -> the measured texts, with sample_id, num_bytes and nats."""


def difference(experiment: ExperimentRecipe, comparison: Comparison, texts: ArmTexts) -> Difference:
    """Mean over seeds of the paired difference, with its 95 % interval.

    ValueError if arms did not score the same texts. Memory: seeds x texts.
    """
    first = texts[comparison.baseline, experiment.seeds[0]].sort("sample_id")
    sizes = first["num_bytes"].to_numpy().astype(np.float64)
    rows = []
    for seed in experiment.seeds:
        nats = []
        for name in (comparison.arm, comparison.baseline):
            scored = texts[name, seed].sort("sample_id")
            if not scored.select("sample_id", "num_bytes").equals(
                first.select("sample_id", "num_bytes")
            ):
                raise ValueError(
                    f"{experiment.name}: arm {name} with seed {seed} scored {scored.height} texts, "
                    f"others {first.height} or other ones: materialize experiment_arms again"
                )
            nats.append(scored["nats"].to_numpy())
        rows.append((nats[0] - nats[1]) / np.log(2))
    bits = np.stack(rows)
    per_seed = bits.sum(axis=1) / sizes.sum()
    low, high = _interval(bits, sizes, resamples=experiment.bootstrap_resamples)
    return Difference(
        comparison=comparison,
        value=float(per_seed.mean()),
        low=low,
        high=high,
        num_texts=len(sizes),
        seed_differences=per_seed.tolist(),
    )


def _interval(bits: Floats, sizes: Floats, *, resamples: int) -> tuple[float, float]:
    """95 % interval of the mean over seeds of bits / bytes; `bits` is (seeds, texts)."""
    num_seeds, num_texts = bits.shape
    random = np.random.default_rng(_SEED)
    seed_weights = random.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=resamples)
    text_weights = random.multinomial(num_texts, [1 / num_texts] * num_texts, size=resamples)
    totals = ((seed_weights / num_seeds) @ bits * text_weights).sum(axis=1)
    means = totals / (text_weights @ sizes)
    center = bits.sum() / num_seeds / sizes.sum()
    widened = center + (means - center) * np.sqrt(num_seeds / (num_seeds - 1))
    low, high = np.percentile(widened, _TAILS)
    return float(low), float(high)


def decide(experiment: ExperimentRecipe, texts: ArmTexts) -> list[Decision]:
    """The control's decision, then that of each comparison.

    `better` or `worse` where the interval excludes zero, and the difference exceeds both the
    control's and the smallest one of interest; else `undecided`. The control itself is decided by
    its interval alone: it has to be undecided.
    """
    control = difference(experiment, experiment.control, texts)
    noise = abs(control.value)
    decisions = [Decision(difference=control, noise=noise, outcome=_outcome(control, 0.0))]
    smallest = max(noise, experiment.min_difference)
    for comparison in experiment.comparisons:
        compared = difference(experiment, comparison, texts)
        outcome = _outcome(compared, smallest)
        decisions.append(Decision(difference=compared, noise=noise, outcome=outcome))
    return decisions


def _outcome(compared: Difference, smallest: float) -> Outcome:
    if compared.low <= 0 <= compared.high or abs(compared.value) <= smallest:
        return "undecided"
    return "better" if compared.value < 0 else "worse"
