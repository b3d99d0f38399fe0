"""Metrics of a running job are read as they arrive, and a stall of its steps is reported."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from snow_assets.runtime import job_metrics, worker
from snow_assets.runtime.job_metrics import JobMetrics, longest_stall


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A job's folder, and what was handed on of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[int] = []
        self.stalls: list[str | None] = []
        self.metrics = JobMetrics(
            job=str(folder),
            num_steps=1_000,
            log_metrics=lambda entries: self.steps.extend(entry["step"] for entry in entries),
            report_stall=self.stalls.append,
        )

    def write(
        self, steps: range, *, attempt: int = 1, seconds: float = 1.0, **values: float
    ) -> None:
        folder = self.folder / f"attempt-{attempt:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        entries = [{"step": step, "step_seconds": seconds, **values} for step in steps]
        del entries[0]["step_seconds"]
        lines = [json.dumps(entry) for entry in entries]
        (folder / f"metrics-{attempt:020d}-00000.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(job_metrics.time, "monotonic", clock)
    return clock


def test_each_entry_of_a_growing_file_is_handed_on_once(watched: Watched) -> None:
    watched.metrics.poll()
    for end in (3, 3, 6):
        watched.write(range(1, end))
        watched.metrics.poll()
    watched.write(range(4, 8), attempt=2)
    watched.metrics.poll()
    assert watched.steps == [1, 2, 3, 4, 5, 4, 5, 6, 7]


def test_no_step_for_ten_median_steps_is_a_stall_until_steps_go_on(
    watched: Watched, clock: Clock
) -> None:
    watched.metrics.poll()
    watched.write(range(1, 6), seconds=30)
    watched.metrics.poll()
    clock.now += 299
    watched.metrics.poll()
    assert watched.stalls == []
    clock.now += 2
    watched.metrics.poll()
    watched.metrics.poll()
    [message] = watched.stalls
    assert message is not None
    assert message.startswith("no step for 5 min after step 5, and a step takes 30 s (median)")
    watched.write(range(1, 7), seconds=30)
    watched.metrics.poll()
    assert watched.stalls == [message, None]


def test_a_validation_as_long_as_the_longest_before_is_no_stall(
    watched: Watched, clock: Clock
) -> None:
    watched.metrics.poll()
    watched.write(range(1, 6), seconds=30, validation_seconds=1_000)
    watched.metrics.poll()
    clock.now += 1_299
    watched.metrics.poll()
    assert watched.stalls == []
    clock.now += 2
    watched.metrics.poll()
    assert len(watched.stalls) == 1


def test_what_comes_after_the_last_step_is_no_stall(watched: Watched, clock: Clock) -> None:
    watched.metrics.num_steps = 5
    watched.metrics.poll()
    watched.write(range(1, 6), seconds=30)
    watched.metrics.poll()
    clock.now += 3_600
    watched.metrics.poll()
    assert watched.stalls == []


def test_quick_steps_stall_after_a_minute_and_not_between_two_writes(
    watched: Watched, clock: Clock
) -> None:
    watched.metrics.poll()
    watched.write(range(1, 100), seconds=0.01)
    watched.metrics.poll()
    clock.now += 59
    watched.metrics.poll()
    assert watched.stalls == []
    clock.now += 2
    watched.metrics.poll()
    assert len(watched.stalls) == 1


def test_the_wait_for_the_next_attempt_s_start_is_no_stall(watched: Watched, clock: Clock) -> None:
    watched.write(range(1, 10))
    watched.metrics.poll()
    clock.now += 10_000
    watched.metrics.poll()
    assert (watched.steps, watched.stalls) == (list(range(1, 10)), [])


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (299, None),
        (301, "no step for 5 min after step 20, and a step takes 30 s (median)"),
    ],
)
def test_a_finished_job_tells_its_longest_stall(seconds: float, message: str | None) -> None:
    metrics = [
        {"step": step, "step_seconds": seconds if step == 21 else 30.0} for step in range(1, 41)
    ]
    assert longest_stall(metrics) == message


def test_neither_the_pause_between_attempts_nor_a_validation_is_a_stall() -> None:
    metrics: list[dict[str, float]] = []
    now = 0.0
    for step in range(1, 41):
        now += 1_000_000.0 if step == 21 else 30.0
        metrics.append({"step": step, "time": now, "step_seconds": 30.0})
    del metrics[0]["step_seconds"], metrics[20]["step_seconds"]
    metrics[30]["validation_seconds"] = 1_000_000.0
    assert longest_stall(metrics) is None
    without_step_seconds = [{"step": entry["step"], "time": entry["time"]} for entry in metrics]
    assert longest_stall(without_step_seconds) is None


def test_a_long_job_leaves_a_file_for_every_thousand_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = tmp_path / "attempt-001"
    attempt.mkdir()
    progress: Any = worker.Progress(folder=str(attempt), pipes=None)  # type: ignore[arg-type]
    monkeypatch.setattr(worker.time, "time_ns", iter(range(10)).__next__)
    for step in range(2_500):
        progress.metrics(step, loss=0.5)
        if step % 10 == 0:
            progress.flush()
    progress.flush()
    assert len(list(attempt.glob("metrics-*"))) == 3
    assert [entry["step"] for entry in worker.read_metrics(str(attempt))] == list(range(2_500))


def test_an_error_of_a_poll_stops_no_job(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job_metrics, "_POLL_SECONDS", 0.01)
    original, failures = worker.attempt_folders, iter([OSError("the store is down")])

    def fail_once(job: str) -> list[str]:
        for error in failures:
            raise error
        return original(job)

    monkeypatch.setattr(worker, "attempt_folders", fail_once)
    watched.write(range(1, 4))
    with job_metrics.follow(watched.metrics):
        while not watched.steps:
            time.sleep(0.01)
    assert watched.steps == [1, 2, 3]
    assert "the store is down" in caplog.text
