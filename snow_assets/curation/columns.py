"""Zero-copy access to the bytes and offsets of a text column, for kernels."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


def buffers(texts: pa.Array) -> tuple[Bytes, Offsets]:
    """Data and offsets of a string or binary array without nulls; the data is not copied.

    There is one more offset than values: value i ends where value i + 1 starts.
    """
    _, offsets, data = texts.buffers()
    is_large = texts.type in (pa.large_string(), pa.large_binary())
    dtype = np.int64 if is_large else np.int32
    starts: Offsets = np.zeros(1, dtype=np.int64)
    if offsets is not None:
        all_offsets = np.frombuffer(offsets, dtype=dtype)
        starts = all_offsets[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    content = np.frombuffer(data or b"", dtype=np.uint8)
    content.flags.writeable = False  # so that numba compiles a single signature
    return content, starts


def replace_values(texts: pa.Array, replacements: Mapping[int, str]) -> pa.Array:
    """A string array with the values of some rows replaced (row -> value)."""
    if not replacements:
        return texts
    mask = np.zeros(len(texts), dtype=np.bool_)
    mask[list(replacements)] = True
    values = pa.array([replacements[row] for row in sorted(replacements)], texts.type)
    return pc.replace_with_mask(texts, pa.array(mask), values)
