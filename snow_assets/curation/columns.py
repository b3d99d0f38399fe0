"""A column of texts as bytes and offsets, without copies: what kernels loop over."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


def buffers(texts: pa.Array) -> tuple[Bytes, Offsets]:
    """A string or binary array as its bytes, without a copy, and where each value starts.

    The array holds no null. One more offset than values: value i ends where value i + 1 starts.
    """
    _, offsets, data = texts.buffers()
    is_large = texts.type in (pa.large_string(), pa.large_binary())
    kind = np.int64 if is_large else np.int32
    starts: Offsets = np.zeros(1, dtype=np.int64)
    if offsets is not None:
        whole = np.frombuffer(offsets, dtype=kind)
        starts = whole[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    found = np.frombuffer(data or b"", dtype=np.uint8)
    found.flags.writeable = False  # one type for numba, wherever the bytes come from
    return found, starts


def with_values(texts: pa.Array, changed: Mapping[int, str]) -> pa.Array:
    """A string array with other values at some places."""
    if not changed:
        return texts
    mask = np.zeros(len(texts), dtype=np.bool_)
    mask[list(changed)] = True
    values = pa.array([changed[place] for place in sorted(changed)], texts.type)
    return pc.replace_with_mask(texts, pa.array(mask), values)
