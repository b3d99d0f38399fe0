"""Compiled kernels: loops over the bytes of a whole column of texts.

Compiled once per machine and kept on disk, so that a second process pays nothing. Where: in what
NUMBA_CACHE_DIR names, else beside the source, else in the user's cache; in a pod where none of
these can be written, under the system's temporary folder. There a folder is of one state of all
files with kernels: numba looks at a kernel's own file only, not at those of kernels that it calls.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])

_ROOMS = Path(__file__).parents[1]


def _folder() -> Path:
    state = hashlib.sha256()
    for path in sorted(_ROOMS.glob("*/*.py")):
        content = path.read_bytes()
        if b"curation.jit import" in content or b"from numba" in content:
            state.update(content)
    beside, home = _ROOMS / "curation" / "__pycache__", Path.home()
    if numba.config.CACHE_DIR:
        place = Path(numba.config.CACHE_DIR)
    elif os.access(beside.parent, os.W_OK):
        place = beside
    elif os.access(home, os.W_OK):
        place = home / ".cache" / "snow"
    else:
        place = Path(tempfile.gettempdir()) / f"snow-{os.getuid()}"
    return place / f"kernels-{state.hexdigest()[:16]}"


numba.config.CACHE_DIR = str(_folder())


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
