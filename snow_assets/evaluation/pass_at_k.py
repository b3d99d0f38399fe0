"""pass@1 of greedy answers: the share of problems that were solved, with Wilson's interval."""

import math

from snow_assets.evaluation.intervals import Estimate

_Z = 1.959964  # of a two-sided 95 % interval


def pass_at_1(num_passed: int, num_problems: int) -> Estimate:
    """One greedy answer per problem, so the share itself is the estimate of pass@1.

    Wilson (1927), which unlike the normal interval stays inside [0, 1] and is not empty at 0 of n.
    """
    if not 0 <= num_passed <= num_problems or num_problems == 0:
        raise ValueError(f"{num_passed} of {num_problems} problems passed: no share of anything")
    share, square = num_passed / num_problems, _Z**2
    scale = 1 + square / num_problems
    centre = (share + square / (2 * num_problems)) / scale
    spread = share * (1 - share) / num_problems + square / (4 * num_problems**2)
    half = _Z * math.sqrt(spread) / scale
    return Estimate(
        value=share,
        low=max(0.0, centre - half),
        high=min(1.0, centre + half),
        num_samples=num_problems,
        note=f"Wilson over {num_problems} problems",
    )
