"""What pairs connect: connected components, the same whatever the order of the pairs."""

import numpy as np
import numpy.typing as npt

from snow_assets.curation.minhash import connect

Places = npt.NDArray[np.int64]


def connected(ones: Places, others: Places, size: int) -> Places:
    """For each place below `size` the least place that pairs connect it with, maybe itself."""
    parents = np.arange(size)
    connect(ones, others, parents)
    return parents
