"""Estimate of the remaining time, as a log line: `3 of 40 shards, about 12 min left`."""

import logging
import time
from dataclasses import dataclass, field

LOGGER = "snow"
"""Python logger of the stages' progress; Dagster captures it (`python_logs` of dagster.yaml)."""

_MIN_SECONDS = 10.0  # between two log lines, and before the first estimate


@dataclass
class Remaining:
    """Progress counter that extrapolates from the mean rate; earlier attempts do not count."""

    total: int
    unit: str
    _done: int = 0
    # A lambda, so that a test can set the clock.
    _started: float = field(default_factory=lambda: time.monotonic())
    _logged: float = field(default_factory=lambda: time.monotonic())

    def advance(self, count: int = 1) -> str:
        """Count finished units, log the progress at most every 10 s, and return the line."""
        self._done += count
        line, now = self.line(), time.monotonic()
        if now - self._logged >= _MIN_SECONDS:
            self._logged = now
            logging.getLogger(LOGGER).info(line)
        return line

    def line(self) -> str:
        """Finished units and, once there is an estimate, the remaining time."""
        return f"{self._done:,} of {self.total:,} {self.unit}{self.left()}"

    def left(self) -> str:
        """`, about 12 min left`; empty before the first estimate, and at the end."""
        seconds = time.monotonic() - self._started
        if not 0 < self._done < self.total or seconds < _MIN_SECONDS:
            return ""
        return f", about {duration(seconds * (self.total - self._done) / self._done)} left"


def duration(seconds: float) -> str:
    """Format as `45 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
