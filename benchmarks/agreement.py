"""How near an encoder's vectors are to others, and the scores and the selection that follow."""

from typing import Any

import numpy as np
import numpy.typing as npt

_SELECTED_SHARE = 0.1


def agreement(
    found: npt.NDArray[np.float32], truth: npt.NDArray[np.float32], num_tokens: npt.NDArray[Any]
) -> str:
    """Cosines, rank correlation of scores, and the tokens that change sides where a tenth of the
    windows is selected. The scores are along the direction in which the windows differ most."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(truth, axis=1)
    centre = truth.mean(0)
    weight = np.linalg.svd(truth - centre, full_matrices=False)[2][0]
    scores = [(vectors - centre) @ weight for vectors in (found, truth)]
    ranks = [np.argsort(np.argsort(one)) for one in scores]
    chosen = [one >= np.quantile(one, 1 - _SELECTED_SHARE) for one in scores]
    crossing = num_tokens[chosen[0] != chosen[1]].sum() / num_tokens.sum()
    return (
        f"{len(found):,} windows: cosine at least {((found * truth).sum(1) / lengths).min():.6f}, "
        f"Spearman {np.corrcoef(ranks[0], ranks[1])[0, 1]:.6f}, "
        f"{crossing:.3%} of tokens cross a cut at {_SELECTED_SHARE:.0%}"
    )
