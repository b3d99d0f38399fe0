"""Bits per byte with 95 % bootstrap confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TAILS = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its 95 % confidence interval; None with fewer than two resampling units."""

    value: float
    low: float | None
    high: float | None
    num_samples: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Bootstrap config: resample repositories, or samples below `min_repositories`.

    Files of one repository resemble each other, so resampling files makes intervals too narrow;
    but with few groups, resampling groups is worse (Cameron, Gelbach and Miller 2008, "Bootstrap-
    based improvements for inference with clustered errors", who call 5 to 30 groups few).
    """

    resamples: int
    min_repositories: int
    seed: int


def bits_per_byte(
    nats: Sequence[float],
    num_bytes: Sequence[int],
    groups: Sequence[str | None],
    *,
    bootstrap: Bootstrap,
) -> Estimate:
    """Total bits over total bytes, with a percentile bootstrap interval.

    `groups` are the samples' repositories; None for a sample without one.
    """
    sizes = np.asarray(num_bytes, np.float64)
    if not len(nats):
        raise ValueError("no samples, so no bits per byte: report a missing value instead")
    if sizes.min() <= 0:
        raise ValueError(f"a sample of {int(sizes.min())} bytes has no bits per byte")
    bits = np.asarray(nats, np.float64) / math.log(2)
    value = float(bits.sum() / sizes.sum())
    names = sorted({group for group in groups if group is not None})
    if None not in groups and len(names) >= bootstrap.min_repositories:
        group_index = {name: index for index, name in enumerate(names)}
        sample_groups = np.asarray([group_index[group] for group in groups if group is not None])
        bits = np.bincount(sample_groups, bits).astype(np.float64)
        sizes = np.bincount(sample_groups, sizes).astype(np.float64)
        units = f"{len(names)} repositories"
    else:
        units = f"{len(nats)} samples"
        if names:
            units += f" of {len(names)} repositories, too few to resample"
    if len(bits) < 2:
        return Estimate(value=value, low=None, high=None, num_samples=len(nats), note=units)
    generator = np.random.default_rng(bootstrap.seed)
    probabilities = np.full(len(bits), 1 / len(bits))
    weights = generator.multinomial(len(bits), probabilities, size=bootstrap.resamples)
    low, high = np.percentile((weights @ bits) / (weights @ sizes), _TAILS)
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        num_samples=len(nats),
        note=f"bootstrap over {units}",
    )
