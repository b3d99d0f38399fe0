"""Compiled kernels: loops over the bytes of a whole column of texts.

Compiled once per machine and kept on disk, so that a second process pays nothing. Where: what
NUMBA_CACHE_DIR names, else beside the source, else the user's cache; in a pod where none of these
can be written, a folder under the system's temporary one.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


_PLACES = (Path(__file__).parent, Path.home())

if not numba.config.CACHE_DIR and not any(os.access(place, os.W_OK) for place in _PLACES):
    numba.config.CACHE_DIR = str(Path(tempfile.gettempdir()) / f"snow-kernels-{os.getuid()}")


def kernel(function: _Function) -> _Function:
    """Compile a function of arrays and numbers; it holds no lock while it runs."""
    compiled: _Function = numba.njit(cache=True, nogil=True)(function)
    return compiled


_FLOATS = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def float_kernel(function: _Function) -> _Function:
    """Likewise, of floats: sums are taken in any order, and none may be infinite or no number."""
    compiled: _Function = numba.njit(cache=True, **_FLOATS)(function)
    return compiled


def float_part(function: _Function) -> _Function:
    """What becomes a part of each float kernel that calls it.

    One called by name would be another's code where it was compiled than where it is read from
    disk, with sums in another order; and of one that lies on disk no code is left to become a part.
    """
    compiled: _Function = numba.njit(forceinline=True, **_FLOATS)(function)
    return compiled
