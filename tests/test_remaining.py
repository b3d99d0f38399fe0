"""How long work still takes is told from its own pace."""

import logging
import time

import pytest

from snow_assets.runtime.remaining_time import Remaining, duration


def clock(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    readings = iter(seconds)
    last = seconds[-1]
    monkeypatch.setattr(time, "monotonic", lambda: next(readings, last))


def test_what_is_left_follows_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 0.0, 0.0, 60.0)
    remaining = Remaining(40, "shards")
    assert remaining.advance(10) == "10 of 40 shards, about 3 min left"


def test_no_time_is_told_before_the_pace_is_known_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock(monkeypatch, 0.0, 0.0, 1.0)
    assert Remaining(4, "parts").advance() == "1 of 4 parts"
    clock(monkeypatch, 0.0, 0.0, 60.0)
    assert Remaining(4, "parts").advance(4) == "4 of 4 parts"


def test_lines_are_logged_at_most_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock(monkeypatch, 0.0, 0.0, *(float(second) for second in range(1, 200)))
    remaining = Remaining(1_000, "shards")
    with caplog.at_level(logging.INFO, "snow"):
        for _ in range(60):
            remaining.advance()
    assert 2 < len(caplog.records) < 15
    assert "left" in caplog.records[-1].message


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_a_duration_has_the_unit_that_a_person_uses(seconds: float, text: str) -> None:
    assert duration(seconds) == text
