"""A phase's metrics are in MLflow while it trains, once for each step, also of a killed one."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import dagster as dg
import pytest

from snow_assets.runtime import job_metrics
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.local_job_lease import job_processes
from snow_resources.local_jobs import LocalJobs
from snow_resources.tracking import Tracking
from tests.pretraining.builders import CONTEXT, PHASE, a_corpus
from tests.pretraining.test_assets import CHECKPOINTS, PACKS, RECIPE, current, put_upstream
from tests.stage_assets import assets_of

NUM_STEPS = 600
SLOW_PHASE = replace(
    PHASE,
    tokens=NUM_STEPS * PHASE.global_batch_size * CONTEXT,
    max_passes=1_000,
    checkpoint_steps=20,
)
SLOW = replace(
    RECIPE,
    pretraining=replace(RECIPE.pretraining, phases=(SLOW_PHASE, *RECIPE.pretraining.phases[1:])),
)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a tracking server of its own process."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--port", port]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: is_up(url), seconds=180)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def is_up(url: str) -> bool:
    try:
        return urlopen(f"{url}/health").status == 200
    except URLError:
        return False


def wait_for(condition: Callable[[], Any], *, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.1)
    return value


def train(lake_url: str, uri: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets_of(PACKS["general"], CHECKPOINTS["general"], recipe=SLOW),
        resources={
            "recipe": SLOW,
            "lake": Lake(url=lake_url),
            "jobs": LocalJobs(url=f"{lake_url}/jobs", vllm_python="none"),
            "tracking": Tracking(uri=uri, spool=f"{lake_url}/spool"),
        },
        raise_on_error=False,
    )


def training_process(lake_url: str) -> int | None:
    """The process that trains on this lake."""
    for job in Path(lake_url, "jobs", "general_checkpoint", "all").glob("*"):
        key = hashlib.sha256(str(job).encode()).hexdigest()[:16]  # of the job's lease
        for process in job_processes(key):
            return process
    return None


def checkpoint_runs(uri: str) -> list[Any]:
    from snow_resources.mlflow_runs import EXPERIMENT, client_of

    client = client_of(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    condition = "tags.`dagster.asset_key` = 'general_checkpoint'"
    return list(client.search_runs([experiment.experiment_id], condition))


def history(uri: str, run: Any, metric: str) -> list[Any]:
    from snow_resources.mlflow_runs import client_of

    return list(client_of(uri).get_metric_history(run.info.run_id, metric))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_killed_and_resumed_phase_logs_each_step_once_and_while_it_trains(
    lake_url: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_metrics, "_POLL_SECONDS", 0.5)
    put_upstream(lake_url, a_corpus())
    done: list[dg.ExecuteInProcessResult] = []
    thread = threading.Thread(target=lambda: done.append(train(lake_url, mlflow_server)))
    thread.start()
    process = wait_for(lambda: training_process(lake_url), seconds=200)
    [run] = wait_for(lambda: checkpoint_runs(mlflow_server), seconds=200)
    points = wait_for(lambda: history(mlflow_server, run, "loss_bits"), seconds=60)
    assert training_process(lake_url) == process
    assert points[-1].step < NUM_STEPS
    assert time.time() - points[-1].timestamp / 1000 < 60
    assert run.info.status == "RUNNING"

    os.kill(process, signal.SIGKILL)
    thread.join()
    assert not done[0].success
    [run] = checkpoint_runs(mlflow_server)
    assert run.info.status == "FAILED"
    num_before = len(history(mlflow_server, run, "loss_bits"))
    assert 0 < num_before < NUM_STEPS

    again = train(lake_url, mlflow_server)
    assert again.success
    [run] = checkpoint_runs(mlflow_server)
    assert run.info.status == "FINISHED"
    manifest = shards.manifest(current(lake_url, "general_checkpoint"))
    assert run.data.tags["data_version"] == manifest.digest
    for metric in ("loss_bits", "gradient_norm", "learning_rate"):
        logged = sorted(point.step for point in history(mlflow_server, run, metric))
        assert logged == list(range(1, NUM_STEPS + 1))
    assert run.data.metrics["final_tokens"] == manifest.stats["tokens"]

    from snow_resources.mlflow_runs import client_of

    (plot,) = client_of(mlflow_server).list_artifacts(run.info.run_id, "plots")
    assert plot.path == "plots/loss.png"
    model = client_of(mlflow_server).get_logged_model(run.data.tags["snow.mlflow_model_id"])
    assert str(model.status) == "READY"
    assert model.tags["data_version"] == manifest.digest
    steps = {point.step for point in model.metrics or [] if point.key == "loss_bits"}
    assert len(steps) > 0
