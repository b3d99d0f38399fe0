"""Whether a better annotator goes with a better model: the paper's figure 2 as a rank correlation.

An arm's point is its annotator's mean AUC and its mean bits per byte over the seeds. The interval
resamples arms and, independently of them, seeds; with few arms it is wide, and says so.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from snow_assets.recipe.experiments import ExperimentRecipe

Floats = npt.NDArray[np.float64]

_MIN_DISTINCT_ARMS = 3  # of a resample: ranks of fewer correlate by themselves
_SEED = 0  # of the bootstrap
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's correlation with its 95 % interval; None where it cannot be resampled."""

    value: float
    low: float | None
    high: float | None


def rank_correlation(
    experiment: ExperimentRecipe, measured: pl.DataFrame
) -> RankCorrelation | None:
    """Of `auc` and minus `bits_per_byte` over `annotator_arms`; positive: higher AUC, better model.

    `measured` has a row per arm and seed. None if an AUC was not measured, or does not differ.
    Memory: resamples x arms.
    """
    arms, seeds = experiment.annotator_arms, experiment.seeds
    rows = measured.filter(pl.col("arm").is_in(arms), pl.col("auc").is_not_null())
    if rows.height != len(arms) * len(seeds):
        return None
    aucs, bits = (
        rows.sort("arm", "seed")[name].to_numpy().reshape(len(arms), len(seeds))
        for name in ("auc", "bits_per_byte")
    )
    scores = -bits
    value = _spearman(aucs.mean(axis=1)[None], scores.mean(axis=1)[None])[0]
    if not np.isfinite(value):
        return None
    low, high = _interval(aucs, scores, resamples=experiment.bootstrap_resamples)
    return RankCorrelation(value=float(value), low=low, high=high)


def _interval(aucs: Floats, scores: Floats, *, resamples: int) -> tuple[float | None, float | None]:
    """95 % interval over arms and seeds of (arms, seeds) values; resamples with fewer than three
    distinct arms are left out."""
    num_arms, num_seeds = aucs.shape
    random = np.random.default_rng(_SEED)
    arms = random.integers(num_arms, size=(resamples, num_arms))
    weights = random.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=resamples) / num_seeds
    is_usable = (np.diff(np.sort(arms, axis=1), axis=1) > 0).sum(axis=1) + 1 >= _MIN_DISTINCT_ARMS
    arms, weights = arms[is_usable], weights[is_usable]
    resampled = [np.take_along_axis(weights @ values.T, arms, axis=1) for values in (aucs, scores)]
    values = _spearman(*resampled)
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    low, high = np.percentile(values, _TAILS)
    return float(low), float(high)


def _spearman(first: Floats, second: Floats) -> Floats:
    """Spearman's correlation of each row of two (rows, values) arrays; NaN of a constant row."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # slow to import

    ranks = [rankdata(values, axis=1) for values in (first, second)]
    centered = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    products = (centered[0] * centered[1]).sum(axis=1)
    norms = np.sqrt((centered[0] ** 2).sum(axis=1) * (centered[1] ** 2).sum(axis=1))
    values: Floats = np.full(len(products), np.nan)
    np.divide(products, norms, out=values, where=norms > 0)
    return values
