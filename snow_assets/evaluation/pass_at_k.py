"""pass@k of greedy and of sampled completions, with the Wilson score interval."""

import math
from collections.abc import Sequence

from snow_assets.evaluation.intervals import Estimate

_Z = 1.959964  # of a two-sided 95 % interval


def pass_at_1(num_passed: int, num_problems: int) -> Estimate:
    """Fraction of problems solved by one greedy completion each, with its 95 % interval."""
    if not 0 <= num_passed <= num_problems or num_problems == 0:
        raise ValueError(f"{num_passed} of {num_problems} problems passed: no share of anything")
    return _wilson(num_passed / num_problems, num_problems)


def problem_pass_at_k(num_passed: int, *, num_samples: int, k: int) -> float:
    """Probability that one of k samples passes, drawn from `num_samples` without replacement.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. (arXiv 2107.03374, section 2.1).
    """
    if not 1 <= k <= num_samples or not 0 <= num_passed <= num_samples:
        raise ValueError(f"{num_passed} of {num_samples} samples passed: there is no pass@{k}")
    return 1 - math.comb(num_samples - num_passed, k) / math.comb(num_samples, k)


def pass_at_k(num_passed: Sequence[int], *, num_samples: int, k: int) -> Estimate:
    """Mean pass@k of problems with `num_passed` passing samples each, with its 95 % interval.

    The interval is that of as many outcomes 0 or 1: values in [0, 1] with the same mean vary less,
    so it is too wide rather than too narrow.
    """
    if not num_passed:
        raise ValueError("no problems, so no pass@k: report a missing value instead")
    values = [problem_pass_at_k(passed, num_samples=num_samples, k=k) for passed in num_passed]
    return _wilson(math.fsum(values) / len(values), len(values))


def _wilson(fraction: float, num_problems: int) -> Estimate:
    """Wilson (1927), which unlike the normal interval stays inside [0, 1] and is not empty at 0."""
    square = _Z**2
    scale = 1 + square / num_problems
    centre = (fraction + square / (2 * num_problems)) / scale
    spread = fraction * (1 - fraction) / num_problems + square / (4 * num_problems**2)
    margin = _Z * math.sqrt(spread) / scale
    return Estimate(
        value=fraction,
        low=max(0.0, centre - margin),
        high=min(1.0, centre + margin),
        num_samples=num_problems,
        note=f"Wilson over {num_problems} problems",
    )
