"""Bits per byte with what it is worth: 95 % intervals by the bootstrap, paired where it can be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TAILS = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its 95 % interval; none where there is too little to tell."""

    value: float
    low: float | None
    high: float | None
    num_samples: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How to resample: repositories as wholes, unless there are fewer than `min_repositories`.

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
    """All nats over all bytes, as bits; percentile interval over samples or their groups.

    `groups` are the samples' repositories; None for a sample that has none.
    """
    return _ratio(np.asarray(nats, np.float64), num_bytes, groups, bootstrap)


def bits_per_byte_difference(
    nats: Sequence[float],
    other_nats: Sequence[float],
    num_bytes: Sequence[int],
    groups: Sequence[str | None],
    *,
    bootstrap: Bootstrap,
) -> Estimate:
    """How many bits per byte the first costs more than the other, on the same samples.

    Paired: what makes a text hard for both cancels, so the interval is far narrower than the two
    intervals suggest.
    """
    difference = np.asarray(nats, np.float64) - np.asarray(other_nats, np.float64)
    return _ratio(difference, num_bytes, groups, bootstrap)


def _ratio(
    nats: NDArray[np.float64],
    num_bytes: Sequence[int],
    groups: Sequence[str | None],
    bootstrap: Bootstrap,
) -> Estimate:
    sizes = np.asarray(num_bytes, np.float64)
    if not len(nats):
        raise ValueError("no samples, so no bits per byte: report a missing value instead")
    if sizes.min() <= 0:
        raise ValueError(f"a sample of {int(sizes.min())} bytes has no bits per byte")
    bits = nats / math.log(2)
    value = float(bits.sum() / sizes.sum())
    names = sorted({group for group in groups if group is not None})
    if None not in groups and len(names) >= bootstrap.min_repositories:
        position = {name: index for index, name in enumerate(names)}
        index = np.asarray([position[group] for group in groups if group is not None])
        bits = np.bincount(index, bits).astype(np.float64)
        sizes = np.bincount(index, sizes).astype(np.float64)
        units = f"{len(names)} repositories"
    else:
        units = f"{len(nats)} samples"
        if names:
            units += f" of {len(names)} repositories, too few to resample"
    if len(bits) < 2:
        return Estimate(value=value, low=None, high=None, num_samples=len(nats), note=units)
    generator = np.random.default_rng(bootstrap.seed)
    share = np.full(len(bits), 1 / len(bits))
    times = generator.multinomial(len(bits), share, size=bootstrap.resamples)
    low, high = np.percentile((times @ bits) / (times @ sizes), _TAILS)
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        num_samples=len(nats),
        note=f"bootstrap over {units}",
    )
