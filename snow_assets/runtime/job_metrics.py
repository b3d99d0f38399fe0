"""Metrics of a job while it runs: new entries are handed on, and a stall of its steps is reported.

The job writes its metrics to its folder (`worker.Progress`); the process that waits for the job
reads them there, wherever the job runs. Stalls are judged by two metrics of the job's steps:
`step_seconds`, the time since the step before, which the first step of an attempt does not have and
which does not include validation, and `validation_seconds`, where a validation followed the step.
"""

import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import LOGGER, duration
from snow_assets.runtime.threads import polling
from snow_assets.storage import shards
from snow_assets.storage.object_store import store_errors

_POLL_SECONDS = 10.0
_STALL_FACTOR = 10.0  # times the median step
_MIN_STALL_SECONDS = 60.0  # jobs write their metrics every 10 s
_NUM_STEPS = 100  # the last ones; their median time is a step's usual time


@dataclass
class JobMetrics:
    """Reads what is new in a job's metrics at each `poll`.

    `log_metrics` gets new entries in the order of writing; attempts that resume repeat steps.
    `report_stall` gets a message when no step came for ten times the median step (at least a
    minute) and the longest validation so far, and None when steps go on. Steps of attempts before
    the first poll count for neither. The first validation is not known before it ends: one that
    takes so long is reported.
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
    _step_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_NUM_STEPS))
    _validation_seconds: float = 0.0  # of the longest validation

    def poll(self) -> None:
        entries = list(self._new_entries())
        if entries:
            self.log_metrics(entries)
        if entries and self._is_started:
            self._arrived = time.monotonic()
            self._last_step = entries[-1]["step"]
            self._step_seconds.extend(
                entry["step_seconds"] for entry in entries if "step_seconds" in entry
            )
            validations = (entry.get("validation_seconds", 0.0) for entry in entries)
            self._validation_seconds = max(self._validation_seconds, *validations)
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
        if self._is_stalled or is_over or len(self._step_seconds) < 2:
            return
        median = statistics.median(self._step_seconds)
        silence = time.monotonic() - self._arrived
        if _is_stall(silence - self._validation_seconds, median):
            self._is_stalled = True
            self.report_stall(
                f"{_stall_message(silence, self._last_step, median)}: look at the job's log and "
                f"its processes in {self.job}"
            )


def _is_stall(seconds: float, median: float) -> bool:
    return seconds > max(_STALL_FACTOR * median, _MIN_STALL_SECONDS)


def _stall_message(seconds: float, step: int | None, median: float) -> str:
    return (
        f"no step for {duration(seconds)} after step {step}, and a step takes {duration(median)} "
        "(median)"
    )


def longest_stall(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    """The longest stall of a finished job, by its metrics of all attempts; None without one.

    What lies between the last step of an attempt and the first of the next is no stall, nor is any
    step of a job that wrote no `step_seconds`.
    """
    steps = [
        (float(entry["step_seconds"]), int(entry["step"]))
        for entry in metrics
        if "step_seconds" in entry
    ]
    if len(steps) < 2:
        return None
    median = statistics.median(seconds for seconds, _ in steps)
    seconds, step = max(steps)
    return _stall_message(seconds, step - 1, median) if _is_stall(seconds, median) else None


@contextmanager
def follow(metrics: JobMetrics) -> Iterator[None]:
    """Poll every ten seconds, in a thread, while the block runs, and once at its end.

    A lake that cannot be read now is logged, and the next poll goes on.
    """

    def poll() -> None:
        try:
            with store_errors(metrics.job):
                metrics.poll()
        except OSError:
            logging.getLogger(LOGGER).exception("the metrics of %s could not be read", metrics.job)

    try:
        with polling(poll, seconds=_POLL_SECONDS):
            yield
    finally:
        poll()
