"""Numba-compiled kernels: loops over the bytes of a column of texts.

Kernels are compiled once per machine and cached on disk: in NUMBA_CACHE_DIR, else next to the
source, else in the user's cache, else (in a pod where none of these is writable) in the system's
temporary folder. The cache folder is keyed by the content of all files with kernels, because numba
invalidates a kernel by its own file only, not by the files of kernels that it calls.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])

_PACKAGES = Path(__file__).parents[1]


def _folder() -> Path:
    state = hashlib.sha256()
    for path in sorted(_PACKAGES.rglob("*.py")):
        content = path.read_bytes()
        if b"curation.jit import" in content:
            state.update(content)
    source_cache, home = _PACKAGES / "curation" / "__pycache__", Path.home()
    if numba.config.CACHE_DIR:
        cache = Path(numba.config.CACHE_DIR)
    elif os.access(source_cache.parent, os.W_OK):
        cache = source_cache
    elif os.access(home, os.W_OK):
        cache = home / ".cache" / "snow"
    else:
        cache = Path(tempfile.gettempdir()) / f"snow-{os.getuid()}"
    return cache / f"kernels-{state.hexdigest()[:16]}"


numba.config.CACHE_DIR = str(_folder())


def kernel(function: _Function) -> _Function:
    """Compile a function of arrays and numbers; it releases the GIL."""
    compiled: _Function = numba.njit(cache=True, nogil=True)(function)
    return compiled
