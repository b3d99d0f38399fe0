"""Resource limits of programs by kind of test."""

from collections.abc import Callable, Mapping
from functools import partial

from snow_assets.corpus.benchmarks.declaration import TestKind
from snow_assets.runtime import sandbox

# Libraries and compilers reserve more address space than they use, and start threads.
_LIBRARIES = partial(
    sandbox.Limits, memory_bytes=4 << 30, folder_bytes=1 << 26, threads=64, open_files=256
)
LIMITS: Mapping[TestKind, Callable[..., sandbox.Limits]] = {
    "function": sandbox.Limits,
    "unittest": _LIBRARIES,
    "program": _LIBRARIES,
}
