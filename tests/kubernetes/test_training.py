"""Training by several processes, in one pod or in two: one curve, and one that survives."""

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from snow_assets.defs.pretraining import CHECKPOINTS, job_size, watch_training
from snow_assets.defs.stalled_training import STALLED_TAG
from snow_assets.pretraining.contract import RESUME, PretrainingReport, PretrainingRequest
from snow_assets.recipe import PretrainingExecution
from snow_assets.runtime import job_metrics, worker
from snow_assets.storage import shards
from snow_resources.gpu_jobs import FinishedJob, Watch
from snow_resources.live_runs import LiveRun
from snow_resources.tracking import PENDING_DIGEST, TrackedModel, Tracking
from tests.kubernetes.conftest import Site
from tests.pretraining.builders import CONTEXT, EXECUTION, PHASE, a_request, clean_text, put_packs
from tests.resources.mlflow_records import a_record

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1_500)]

NUM_STEPS = 160
LONG = replace(
    PHASE,
    tokens=NUM_STEPS * PHASE.global_batch_size * CONTEXT,
    max_passes=1_000,
    checkpoint_steps=20,
)
TWO_PODS = replace(EXECUTION, nodes=2)
ONE_POD = replace(EXECUTION, processes_per_node=2)

_SIGNAL_TRAINERS = """
import os, pathlib, sys
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    words = (folder / "cmdline").read_bytes().split(b"\\0")
    is_training = b"snow_assets.pretraining.training" in words
    if is_training and b"snow_assets.runtime.torchrun" not in words:
        os.kill(int(folder.name), int(sys.argv[1]))
"""


def train(
    site: Site,
    request: PretrainingRequest,
    execution: PretrainingExecution,
    watch: Callable[[dg.AssetExecutionContext], Watch] | None = None,
) -> FinishedJob[PretrainingReport]:
    sized = replace(request, execution=execution)
    size = replace(job_size(execution), cpus=0)  # as the test cluster has
    job: FinishedJob[PretrainingReport] = site.run(
        "snow_assets.pretraining.training", sized, PretrainingReport, size, watch
    )
    return job


class Watched:
    """A job that is watched as that of a checkpoint is, with an MLflow store of its own."""

    def __init__(self, site: Site) -> None:
        self.instance, self.store = site.instance, f"sqlite:///{site.lake.parent / 'mlflow.db'}"
        self.run_id = ""

    def __call__(self, context: dg.AssetExecutionContext) -> Watch:
        self.run_id = context.run.run_id
        record = replace(a_record("general_checkpoint"), metrics=[])
        pending = replace(record.output, digest=PENDING_DIGEST)
        record = replace(
            record, output=pending, tags={**record.tags, "data_version": PENDING_DIGEST}
        )
        run: Any = SimpleNamespace(
            context=context,
            stage=CHECKPOINTS["general"],
            live_run=lambda _: LiveRun(Tracking(uri=self.store), record, context.log),
        )
        model = TrackedModel(name="general_checkpoint", parent=None)
        return partial(watch_training, run, model, NUM_STEPS)

    def stalled(self) -> str | None:
        run = self.instance.get_run_by_id(self.run_id)
        return run.tags.get(STALLED_TAG) if run else None

    def logged_steps(self) -> list[int]:
        """The steps whose loss is in MLflow."""
        from snow_resources.mlflow_runs import client_of

        client = client_of(self.store)
        experiment = client.get_experiment_by_name("snow")
        condition = "tags.`dagster.asset_key` = 'general_checkpoint'"
        runs = client.search_runs([experiment.experiment_id], condition) if experiment else []
        return [
            point.step
            for run in runs
            for point in client.get_metric_history(run.info.run_id, "loss_bits")
        ]


def curve(done: FinishedJob[Any]) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss_bits"]) for entry in worker.read_attempts(done.folder)]


def digest(request: PretrainingRequest) -> str:
    return shards.content_digest(shards.records(request.output))


def a_long_request(site: Site, output: str) -> PretrainingRequest:
    lake = str(site.lake)
    packs = f"{lake}/general_packs/all/g"
    if not shards.is_finished(packs):
        put_packs(lake, clean_text(lake, max_passes=1_000), phase=LONG)
    return a_request(lake, packs, output=output, recipe=LONG)


def test_two_pods_learn_what_one_pod_with_two_processes_learns(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_metrics, "_POLL_SECONDS", 0.5)
    monkeypatch.setattr(job_metrics, "_MIN_STALL_SECONDS", 15.0)
    one = train(site, a_long_request(site, "one"), ONE_POD)
    two = train(site, a_long_request(site, "two"), TWO_PODS)
    assert len(curve(two)) == NUM_STEPS
    assert curve(two) == curve(one)
    assert digest(a_long_request(site, "two")) == digest(a_long_request(site, "one"))

    # A killed rank costs the steps since the last checkpoint, and nothing else.
    request = a_long_request(site, "killed")
    done: list[FinishedJob[PretrainingReport]] = []
    watched = Watched(site)
    thread = threading.Thread(target=lambda: done.append(train(site, request, TWO_PODS, watched)))
    thread.start()
    commit = f"{request.output}/{RESUME}/step-00000020/checkpoint.json"
    site.wait_for(lambda: shards.exists(commit))
    signal_trainers(site, signal.SIGSTOP, index=1)
    site.wait_for(watched.logged_steps)
    assert len(watched.logged_steps()) < NUM_STEPS
    site.wait_for(lambda: watched.stalled() == "true")
    signal_trainers(site, signal.SIGKILL, index=1)
    thread.join(600)  # two starts of two pods, on a machine that runs other tests
    assert done[0].attempt == 2
    assert done[0].report.resumed_from >= 20
    assert curve(done[0]) == curve(two)
    assert digest(request) == digest(a_long_request(site, "two"))
    assert watched.stalled() == "false"
    assert sorted(watched.logged_steps()) == list(range(1, NUM_STEPS + 1))


def signal_trainers(site: Site, number: signal.Signals, *, index: int) -> None:
    from kubernetes import client, config
    from kubernetes.stream import stream

    config.load_kube_config()
    (name,) = (
        each["metadata"]["name"]
        for each in site.running_pods()
        if each["metadata"]["annotations"].get("batch.kubernetes.io/job-completion-index")
        == str(index)
    )
    stream(
        client.CoreV1Api().connect_get_namespaced_pod_exec,
        name,
        site.namespace,
        command=[sys.executable, "-c", _SIGNAL_TRAINERS, str(int(number))],
        stdout=True,
        stderr=True,
    )
