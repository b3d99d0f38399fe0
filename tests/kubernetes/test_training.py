"""Training by several processes, in one pod or in two: one curve, and one that survives."""

import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from snow_assets.defs.pretraining import job_size
from snow_assets.pretraining.contract import RESUME, PretrainingReport, PretrainingRequest
from snow_assets.recipe import PretrainingExecution
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_resources.gpu_jobs import FinishedJob
from tests.kubernetes.conftest import Site
from tests.pretraining.builders import CONTEXT, EXECUTION, PHASE, a_request, clean_text, put_packs

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

_KILL_TRAINERS = """
import os, pathlib, signal
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    words = (folder / "cmdline").read_bytes().split(b"\\0")
    is_training = b"snow_assets.pretraining.training" in words
    if is_training and b"snow_assets.runtime.torchrun" not in words:
        os.kill(int(folder.name), signal.SIGKILL)
"""


def train(
    site: Site, request: PretrainingRequest, execution: PretrainingExecution
) -> FinishedJob[PretrainingReport]:
    sized = replace(request, execution=execution)
    size = replace(job_size(execution), cpus=0)  # as the test cluster has
    job: FinishedJob[PretrainingReport] = site.run(
        "snow_assets.pretraining.training", sized, PretrainingReport, size
    )
    return job


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


def test_two_pods_learn_what_one_pod_with_two_processes_learns(site: Site) -> None:
    one = train(site, a_long_request(site, "one"), ONE_POD)
    two = train(site, a_long_request(site, "two"), TWO_PODS)
    assert len(curve(two)) == NUM_STEPS
    assert curve(two) == curve(one)
    assert digest(a_long_request(site, "two")) == digest(a_long_request(site, "one"))

    # A killed rank costs the steps since the last checkpoint, and nothing else.
    request = a_long_request(site, "killed")
    done: list[FinishedJob[PretrainingReport]] = []
    thread = threading.Thread(target=lambda: done.append(train(site, request, TWO_PODS)))
    thread.start()
    commit = f"{request.output}/{RESUME}/step-00000020/checkpoint.json"
    site.wait_for(lambda: shards.exists(commit))
    kill_trainers(site, index=1)
    thread.join(600)  # two starts of two pods, on a machine that runs other tests
    assert done[0].attempt == 2
    assert done[0].report.resumed_from >= 20
    assert curve(done[0]) == curve(two)
    assert digest(request) == digest(a_long_request(site, "two"))


def kill_trainers(site: Site, *, index: int) -> None:
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
        command=[sys.executable, "-c", _KILL_TRAINERS],
        stdout=True,
        stderr=True,
    )
