"""pass@1 of greedy completions with the Wilson score interval."""

import math

from snow_assets.evaluation.intervals import Estimate

_Z = 1.959964  # of a two-sided 95 % interval


def pass_at_1(num_passed: int, num_problems: int) -> Estimate:
    """Fraction of problems solved by one greedy completion each, with its 95 % interval.

    Wilson (1927), which unlike the normal interval stays inside [0, 1] and is not empty at 0 of n.
    """
    if not 0 <= num_passed <= num_problems or num_problems == 0:
        raise ValueError(f"{num_passed} of {num_problems} problems passed: no share of anything")
    fraction, square = num_passed / num_problems, _Z**2
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
