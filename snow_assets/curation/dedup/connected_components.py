"""Connected components of a graph of pairs; the order of the pairs does not matter."""

import numpy as np
import numpy.typing as npt

from snow_assets.curation.dedup.minhash import union_find

Nodes = npt.NDArray[np.int64]


def connected_components(left: Nodes, right: Nodes, num_nodes: int) -> Nodes:
    """For each node in [0, num_nodes) the smallest node of its component."""
    parents = np.arange(num_nodes)
    union_find(left, right, parents)
    return parents
