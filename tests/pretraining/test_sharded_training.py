"""A phase trained by several processes learns what one process learns."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from snow_assets.pretraining.contract import PretrainingReport, PretrainingRequest
from snow_assets.pretraining.training import work
from snow_assets.runtime import worker
from tests.pretraining.builders import (
    CONTEXT,
    EXECUTION,
    PHASE,
    QuietProgress,
    a_local_job,
    a_request,
    clean_text,
    put_packs,
)
from tests.pretraining.test_training import saved_steps, wait_for_step

pytestmark = pytest.mark.slow

RECIPE = replace(
    PHASE, tokens=120 * CONTEXT, peak_learning_rate=2e-3, checkpoint_steps=3, max_passes=20
)


@pytest.fixture
def request_of_one(lake_url: str) -> PretrainingRequest:
    packs = put_packs(lake_url, clean_text(lake_url, RECIPE.max_passes), phase=RECIPE)
    return a_request(lake_url, packs, recipe=RECIPE)


def with_output(request: PretrainingRequest, output: str, **execution: Any) -> PretrainingRequest:
    changed = replace(EXECUTION, **execution)
    return replace(request, output=f"{request.output}-{output}", execution=changed)


def start(job: Path, processes: int) -> subprocess.Popen[bytes]:
    module = "snow_assets.pretraining.training"
    launcher = ["snow_assets.runtime.torchrun", "1", str(processes)] if processes > 1 else []
    words = [*launcher, module, str(job)]
    return subprocess.Popen(
        [sys.executable, "-m", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def run(job: Path, processes: int) -> PretrainingReport:
    process = start(job, processes)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-4_000:]
    return TypeAdapter(PretrainingReport).validate_json((job / "report.json").read_bytes())


def curve(job: Path) -> list[float]:
    return [entry["loss_bits"] for entry in worker.read_attempts(str(job))]


@pytest.mark.parametrize("sharding_degree", [None, 1])
def test_two_processes_follow_the_curve_of_one(
    request_of_one: PretrainingRequest, tmp_path: Path, sharding_degree: int | None
) -> None:
    alone = QuietProgress()
    work(request_of_one, alone)
    shared = with_output(
        request_of_one, "two", processes_per_node=2, sharding_degree=sharding_degree
    )
    job = a_local_job(tmp_path / "job" / "attempt-001", shared)
    assert run(job, processes=2).tokens == RECIPE.tokens
    expected = [entry["loss_bits"] for entry in alone.steps]
    assert curve(job) == pytest.approx(expected, abs=1e-4, rel=0)


def test_sigterm_during_a_step_loses_at_most_that_step(
    request_of_one: PretrainingRequest, tmp_path: Path
) -> None:
    shared = with_output(request_of_one, "two", processes_per_node=2)
    job = a_local_job(tmp_path / "job" / "attempt-001", shared)
    process = start(job, processes=2)
    wait_for_step(shared, process, 6)
    process.terminate()
    assert process.wait() == worker.PREEMPTED
    last_step = worker.read_metrics(str(job))[-1]["step"]
    assert 6 <= last_step == max(saved_steps(shared)) < RECIPE.tokens // CONTEXT // 4
    again = a_local_job(tmp_path / "job" / "attempt-002", shared)
    assert run(again, processes=2).resumed_from == last_step


def test_a_killed_phase_resumes_with_other_numbers_of_processes(
    request_of_one: PretrainingRequest, tmp_path: Path
) -> None:
    alone = QuietProgress()
    work(request_of_one, alone)
    torn = with_output(request_of_one, "torn", processes_per_node=2)
    last_step = 0
    for attempt, processes in enumerate((2, 1), 1):
        job = a_local_job(tmp_path / "job" / f"attempt-{attempt:03d}", torn)
        process = start(job, processes)
        wait_for_step(torn, process, last_step + 6)
        process.kill()
        assert process.wait() == -9
        last_step += 6
    job = a_local_job(tmp_path / "job" / "attempt-003", torn)
    assert run(job, processes=2).resumed_from >= last_step
    expected = [entry["loss_bits"] for entry in alone.steps]
    assert curve(job) == pytest.approx(expected, abs=1e-5, rel=0)
