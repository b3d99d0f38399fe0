"""The area under the ROC curve, with its 95 % interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

_Z = 1.959964  # of a two-sided 95 % normal interval


@dataclass(frozen=True)
class Area:
    """`auc` is the chance that a positive scores above a negative, ties counting half."""

    auc: float
    low: float
    high: float


def area(positives: Sequence[float], negatives: Sequence[float]) -> Area:
    """The AUC and DeLong's interval (DeLong et al. 1988), by midranks (Sun and Xu 2014).

    It says how much other texts of the same origins would move the figure, not what other
    repositories would. Where no pair is out of order DeLong's variance is zero; the interval then
    ends at the rule of three of the smaller group. Without two of each: ValueError.
    """
    above, below = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    if min(len(above), len(below)) < 2:
        raise ValueError(
            f"an AUC needs two texts of each kind at least, not {len(above)} and {len(below)}"
        )
    ranks = _midranks(np.concatenate([above, below]))
    of_positives = (ranks[: len(above)] - _midranks(above)) / len(below)
    of_negatives = 1 - (ranks[len(above) :] - _midranks(below)) / len(above)
    auc = float(of_positives.mean())
    variance = of_positives.var(ddof=1) / len(above) + of_negatives.var(ddof=1) / len(below)
    margin = _Z * math.sqrt(float(variance)) or 3 / min(len(above), len(below))
    return Area(auc=auc, low=max(0.0, auc - margin), high=min(1.0, auc + margin))


def curve(positives: Sequence[float], negatives: Sequence[float]) -> tuple[Numbers, Numbers]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    scores = np.concatenate([np.asarray(positives), np.asarray(negatives)])
    is_positive = np.arange(len(scores)) < len(positives)
    order = np.argsort(-scores, kind="stable")
    # A threshold admits all texts of equal score together.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits, all_ = np.cumsum(is_positive[order])[ends], ends + 1
    false = np.append(0.0, (all_ - hits) / max(1, len(negatives)))
    return false, np.append(0.0, hits / max(1, len(positives)))


def _midranks(values: Numbers) -> Numbers:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middles: Numbers = last - (counts - 1) / 2
    return middles[inverse]
