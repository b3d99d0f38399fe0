"""GPU utilisation of this pod, sampled with `nvidia-smi`; no samples without a GPU."""

import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
    usage, nvidia_smi, is_over = GpuUsage(), shutil.which("nvidia-smi"), threading.Event()

    def follow(command: str) -> None:
        while not is_over.wait(period_seconds):
            usage.sample(command)

    if nvidia_smi is None:
        yield usage
        return
    thread = threading.Thread(target=follow, args=(nvidia_smi,), daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        is_over.set()
        thread.join()
