"""Metrics of a job while it runs: new entries are handed on, and a stall of its steps is reported.

The job writes its metrics to its folder (`worker.Progress`); the process that waits for the job
reads them there, wherever the job runs.
"""

import itertools
import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import LOGGER, duration
from snow_assets.storage import shards
from snow_assets.storage.object_store import store_errors

_POLL_SECONDS = 10.0
_STALL_FACTOR = 10.0  # times the median step
_MIN_STALL_SECONDS = 60.0  # jobs write their metrics every 10 s
_NUM_INTERVALS = 100  # of the last steps; their median is a step's usual time


@dataclass
class JobMetrics:
    """Reads what is new in a job's metrics at each `poll`.

    `log_metrics` gets new entries in the order of writing; attempts that resume repeat steps.
    `report_stall` gets a message when no step came for ten times the median step (at least a
    minute), and None when steps go on. Steps of attempts before the first poll count for neither.
    """

    job: str  # URL of the folder that holds the attempts
    num_steps: int  # after the last one the job saves what it made: that is no stall
    log_metrics: Callable[[Sequence[Mapping[str, Any]]], None]
    report_stall: Callable[[str | None], None]
    _url: str = ""  # of the last file that was read
    _num_read: int = 0  # of its entries
    _is_started: bool = False
    _is_stalled: bool = False
    _last_step: int | None = None
    _arrived: float = 0.0
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=_NUM_INTERVALS + 1))

    def poll(self) -> None:
        entries = list(self._new_entries())
        if entries:
            self.log_metrics(entries)
        if entries and self._is_started:
            self._arrived = time.monotonic()
            self._last_step = entries[-1]["step"]
            for entry in entries:
                if self._times and entry["time"] < self._times[-1]:
                    self._times.clear()  # of another pod's clock
                self._times.append(entry["time"])
            if self._is_stalled:
                self._is_stalled = False
                self.report_stall(None)
        self._is_started = True
        self._look_for_stall()

    def _new_entries(self) -> Iterator[dict[str, Any]]:
        for attempt in worker.attempt_folders(self.job):
            for name in shards.names(attempt, worker.METRICS_PREFIX):
                url = shards.join(attempt, name)
                if url < self._url:
                    continue
                entries = worker.read_metrics_file(url)
                yield from entries[self._num_read if url == self._url else 0 :]
                self._url, self._num_read = url, len(entries)

    def _look_for_stall(self) -> None:
        is_over = self._last_step is not None and self._last_step >= self.num_steps
        if self._is_stalled or is_over or len(self._times) < 3:
            return
        median = _median_interval(self._times)
        silence = time.monotonic() - self._arrived
        if _is_stall(silence, median):
            self._is_stalled = True
            self.report_stall(
                f"{_stall_message(silence, self._last_step, median)}: look at the job's log and "
                f"its processes in {self.job}"
            )


def _median_interval(times: Iterable[float]) -> float:
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(times))


def _is_stall(seconds: float, median: float) -> bool:
    return seconds > max(_STALL_FACTOR * median, _MIN_STALL_SECONDS)


def _stall_message(seconds: float, step: int | None, median: float) -> str:
    return (
        f"no step for {duration(seconds)} after step {step}, and a step takes {duration(median)} "
        "(median)"
    )


def longest_stall(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    """The longest stall of a finished job, by its metrics of all attempts; None without one."""
    if len(metrics) < 3:
        return None
    median = _median_interval(entry["time"] for entry in metrics)
    seconds, step = max(
        (later["time"] - earlier["time"], int(earlier["step"]))
        for earlier, later in itertools.pairwise(metrics)
    )
    return _stall_message(seconds, step, median) if _is_stall(seconds, median) else None


@contextmanager
def follow(metrics: JobMetrics) -> Iterator[None]:
    """Poll every ten seconds, in a thread, while the block runs, and once at its end.

    A lake that cannot be read now is logged, and the next poll goes on.
    """
    is_over = threading.Event()

    def poll() -> None:
        try:
            with store_errors(metrics.job):
                metrics.poll()
        except OSError:
            logging.getLogger(LOGGER).exception("the metrics of %s could not be read", metrics.job)

    def poll_until_over() -> None:
        while not is_over.wait(_POLL_SECONDS):
            poll()

    thread = threading.Thread(target=poll_until_over, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        poll()
