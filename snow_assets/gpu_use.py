"""How busy the GPUs of this pod are, as `nvidia-smi` samples it; nothing where there is none."""

import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PERIOD_SECONDS = 10.0
_ASK = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class GpuUse:
    """Percentages so far: one for each GPU and sample."""

    def __init__(self) -> None:
        self._samples: list[float] = []

    @property
    def mean_percent(self) -> float | None:
        return statistics.fmean(self._samples) if self._samples else None

    def sample(self, nvidia_smi: str) -> None:
        told = subprocess.run([nvidia_smi, *_ASK], capture_output=True, text=True, check=False)
        words = told.stdout.split() if told.returncode == 0 else []
        self._samples += [float(word) for word in words if word.isdigit()]


@contextmanager
def sampled(*, period_seconds: float = _PERIOD_SECONDS) -> Iterator[GpuUse]:
    """Sample in a thread while the block runs."""
    use, nvidia_smi, is_over = GpuUse(), shutil.which("nvidia-smi"), threading.Event()

    def follow(command: str) -> None:
        while not is_over.wait(period_seconds):
            use.sample(command)

    if nvidia_smi is None:
        yield use
        return
    thread = threading.Thread(target=follow, args=(nvidia_smi,), daemon=True)
    thread.start()
    try:
        yield use
    finally:
        is_over.set()
        thread.join()
