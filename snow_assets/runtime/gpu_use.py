"""GPU utilisation of this pod, sampled with `nvidia-smi`; no samples without a GPU."""

import shutil
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from snow_assets.runtime.threads import polling

_PERIOD_SECONDS = 10.0
_QUERY = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class GpuUsage:
    """Samples of GPU utilisation in percent, one per GPU and poll."""

    def __init__(self) -> None:
        self._samples: list[float] = []

    @property
    def mean_percent(self) -> float | None:
        return statistics.fmean(self._samples) if self._samples else None

    def sample(self, nvidia_smi: str) -> None:
        completed = subprocess.run(
            [nvidia_smi, *_QUERY], capture_output=True, text=True, check=False
        )
        words = completed.stdout.split() if completed.returncode == 0 else []
        self._samples += [float(word) for word in words if word.isdigit()]


@contextmanager
def sample_gpu_usage(*, period_seconds: float = _PERIOD_SECONDS) -> Iterator[GpuUsage]:
    """Sample GPU utilisation in a thread while the block runs."""
    usage, nvidia_smi = GpuUsage(), shutil.which("nvidia-smi")
    if nvidia_smi is None:
        yield usage
        return
    with polling(partial(usage.sample, nvidia_smi), seconds=period_seconds):
        yield usage
