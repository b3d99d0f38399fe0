"""How long work still takes, as a line in its log: `3 of 40 shards, about 12 min left`."""

import logging
import time
from dataclasses import dataclass, field

LOGGER = "snow"
"""Python's logger for what stages say; Dagster shows it (`python_logs` of dagster.yaml)."""

_MIN_SECONDS = 10.0  # between two lines, and before the first: a shorter time says little


@dataclass
class Remaining:
    """Estimates from the pace so far; what was done before the start does not count."""

    total: int
    unit: str
    _done: int = 0
    # A lambda, so that a test can set the clock.
    _started: float = field(default_factory=lambda: time.monotonic())
    _said: float = field(default_factory=lambda: time.monotonic())

    def skip(self) -> None:
        """A unit was done already, by an earlier attempt."""
        self.total -= 1

    def advance(self, count: int = 1) -> str:
        """Units were done: log it, at most every ten seconds, and return the line."""
        self._done += count
        line, now = self.line(), time.monotonic()
        if now - self._said >= _MIN_SECONDS:
            self._said = now
            logging.getLogger(LOGGER).info(line)
        return line

    def line(self) -> str:
        """What is done and, once the pace is known, what is left."""
        return f"{self._done:,} of {self.total:,} {self.unit}{self.left()}"

    def left(self) -> str:
        """`, about 12 min left`; empty while the pace is unknown, and at the end."""
        seconds = time.monotonic() - self._started
        if not 0 < self._done < self.total or seconds < _MIN_SECONDS:
            return ""
        return f", about {duration(seconds * (self.total - self._done) / self._done)} left"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
