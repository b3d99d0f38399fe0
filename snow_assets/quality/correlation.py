"""Spearman's rank correlation with its 95 % confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snow_assets.quality.auc import midranks

_Z = 1.959964  # of a two-sided 95 % normal interval
_MIN_TEXTS = 4


@dataclass(frozen=True)
class Correlation:
    value: float
    low: float
    high: float


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Correlation | None:
    """Spearman's correlation of two paired sequences, ties at their middle rank.

    The interval is that of Fisher's transformation with Bonett and Wright's variance (2000); it
    covers sampling of texts, not of repositories. Of a perfect correlation the variance is unknown:
    the margin is then the rule of three. None with fewer than four pairs, or without variation.
    """
    num_pairs = len(first)
    if num_pairs < _MIN_TEXTS or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    ranks = [midranks(np.asarray(values, np.float64)) for values in (first, second)]
    value = float(np.corrcoef(ranks)[0, 1])
    if abs(value) > 1 - 1e-12:
        value = math.copysign(1.0, value)
        margin = min(1.0, 3 / num_pairs)
        return Correlation(value, max(-1.0, value - margin), min(1.0, value + margin))
    margin = _Z * math.sqrt((1 + value**2 / 2) / (num_pairs - 3))
    center = math.atanh(value)
    return Correlation(value, math.tanh(center - margin), math.tanh(center + margin))
