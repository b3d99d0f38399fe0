"""Estimate of the remaining time, as a log line: `3 of 40 shards, about 12 min left`."""

import logging
import time
from dataclasses import dataclass, field

LOGGER = "snow"
"""Python logger of the stages' progress; Dagster captures it (`python_logs` of dagster.yaml)."""

_MIN_SECONDS = 10.0  # before the first estimate


@dataclass
class Remaining:
    """Progress counter that extrapolates from the mean rate; earlier attempts do not count."""

    total: int
    unit: str
    log_seconds: float = 10.0  # between two log lines
    _done: int = 0
    # A lambda, so that a test can set the clock.
    _started: float = field(default_factory=lambda: time.monotonic())
    _logged: float = field(default_factory=lambda: time.monotonic())

    def advance(self, count: int = 1) -> str:
        """Count finished units, log the progress where it is due, and return the line."""
        self.count(count)
        line = self.line()
        if self.is_due():
            logging.getLogger(LOGGER).info(line)
        return line

    def count(self, count: int = 1) -> None:
        """Count finished units without a log line."""
        self._done += count

    def is_due(self) -> bool:
        """Whether to log a line now: once in `log_seconds`."""
        now = time.monotonic()
        if now - self._logged < self.log_seconds:
            return False
        self._logged = now
        return True

    def line(self) -> str:
        """Finished units and, once there is an estimate, the remaining time."""
        return f"{self._done:,} of {self.total:,} {self.unit}{self.left()}"

    def left(self) -> str:
        """`, about 12 min left`; empty before the first estimate, and at the end."""
        seconds = self.unit_seconds()
        if seconds is None or self._done >= self.total:
            return ""
        return f", about {duration(seconds * (self.total - self._done))} left"

    def unit_seconds(self) -> float | None:
        """The mean time of a unit; None before the first estimate."""
        seconds = time.monotonic() - self._started
        return seconds / self._done if self._done and seconds >= _MIN_SECONDS else None


def duration(seconds: float) -> str:
    """Format as `45 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
