"""Area under the ROC curve (AUC) with its 95 % confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

_Z = 1.959964  # of a two-sided 95 % normal interval


@dataclass(frozen=True)
class RocAuc:
    """`auc`: the probability that a positive scores above a negative, ties counting half."""

    auc: float
    low: float
    high: float


def roc_auc(positives: Sequence[float], negatives: Sequence[float]) -> RocAuc:
    """The AUC and DeLong's interval (DeLong et al. 1988), by midranks (Sun and Xu 2014).

    The interval covers sampling of texts, not of repositories. DeLong's variance is zero if the
    groups are perfectly separated; the margin is then the rule of three for the smaller group.
    ValueError with fewer than two texts of a kind.
    """
    positive_scores = np.asarray(positives, np.float64)
    negative_scores = np.asarray(negatives, np.float64)
    num_positives, num_negatives = len(positive_scores), len(negative_scores)
    if min(num_positives, num_negatives) < 2:
        raise ValueError(
            f"an AUC needs two texts of each kind at least, not {num_positives} and {num_negatives}"
        )
    ranks = midranks(np.concatenate([positive_scores, negative_scores]))
    of_positives = (ranks[:num_positives] - midranks(positive_scores)) / num_negatives
    of_negatives = 1 - (ranks[num_positives:] - midranks(negative_scores)) / num_positives
    auc = float(of_positives.mean())
    variance = of_positives.var(ddof=1) / num_positives + of_negatives.var(ddof=1) / num_negatives
    margin = _Z * math.sqrt(float(variance)) or 3 / min(num_positives, num_negatives)
    return RocAuc(auc=auc, low=max(0.0, auc - margin), high=min(1.0, auc + margin))


def roc_curve(positives: Sequence[float], negatives: Sequence[float]) -> tuple[Floats, Floats]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    scores = np.concatenate([np.asarray(positives), np.asarray(negatives)])
    is_positive = np.arange(len(scores)) < len(positives)
    order = np.argsort(-scores, kind="stable")
    # Texts of equal score pass a threshold together.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits, all_ = np.cumsum(is_positive[order])[ends], ends + 1
    false_positive_rates = np.append(0.0, (all_ - hits) / max(1, len(negatives)))
    return false_positive_rates, np.append(0.0, hits / max(1, len(positives)))


def midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values get the mean of their ranks."""
    return pl.Series(values).rank("average").to_numpy()
