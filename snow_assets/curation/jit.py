"""Compiled kernels: loops over the bytes of a whole column of texts.

Compiled once per machine and kept on disk, so that a second process pays nothing. Where: what
NUMBA_CACHE_DIR names, else beside the source, else the user's cache; in a pod where none of these
can be written, a folder under the system's temporary one.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


_PLACES = (Path(__file__).parent, Path.home())

if not numba.config.CACHE_DIR and not any(os.access(place, os.W_OK) for place in _PLACES):
    numba.config.CACHE_DIR = str(Path(tempfile.gettempdir()) / f"snow-kernels-{os.getuid()}")


def kernel(function: _Function) -> _Function:
    """Compile a function of arrays and numbers; it holds no lock while it runs."""
    compiled: _Function = numba.njit(cache=True, nogil=True)(function)
    return compiled


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
