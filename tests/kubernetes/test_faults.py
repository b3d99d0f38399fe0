"""What the real world does to a run and its cluster, and what the run does then."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from snow_resources.gpu_jobs import JobSize
from snow_resources.kubernetes_jobs import KubernetesJobs
from tests.kubernetes.conftest import Site, claims_of, failure, metadata, run_worker
from tests.kubernetes.proxy import proxied
from tests.kubernetes.work_job import Work

pytestmark = pytest.mark.cluster


def test_a_run_whose_worker_was_killed_is_retried_and_adopts_the_job(
    site: Site, tmp_path: Path
) -> None:
    request = site.gated(num_parts=4, after=2)
    killed = run_worker(site, request, tmp_path / "home")
    site.wait_for(lambda: site.count("parts") == 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = site.running_pod()
    retried = run_worker(site, request, tmp_path / "home")
    site.wait_for(lambda: len(claims_of(site)) == 2)
    after = site.running_pod()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    site.open_gate()
    assert retried.wait(180) == 0
    assert site.count("starts") == 1
    assert site.count("made") == 4


def test_a_cancel_drops_one_claim_and_the_last_one_deletes_the_job(
    site: Site, tmp_path: Path
) -> None:
    request = site.gated(num_parts=2, after=1)
    workers = [run_worker(site, request, tmp_path / "home")]
    site.wait_for(lambda: len(claims_of(site)) == 1)  # and its database is there
    workers.append(run_worker(site, request, tmp_path / "home"))
    site.wait_for(lambda: len(claims_of(site)) == 2)
    site.wait_for(lambda: site.count("starts") == 1)  # a pod runs before its Python does
    workers[0].send_signal(signal.SIGINT)
    assert workers[0].wait(180) != 0
    assert len(claims_of(site)) == 1
    site.running_pod()
    workers[1].send_signal(signal.SIGINT)
    assert workers[1].wait(180) != 0
    assert site.api.list("jobs") == []
    assert site.count("starts") == 1


@pytest.mark.slow
def test_an_api_server_that_fails_for_a_minute_costs_nothing(site: Site, tmp_path: Path) -> None:
    with proxied(tmp_path) as proxy:
        request = site.gated(num_parts=4, after=2)
        launched = site.launch_aside(request, kubeconfig=proxy.kubeconfig)
        site.wait_for(lambda: site.count("parts") == 2)
        for mode in ("unavailable", "drop"):
            before, proxy.mode = proxy.num_failed, mode
            time.sleep(30)
            site.wait_for(lambda before=before: proxy.num_failed >= before + 2)
        proxy.mode = "pass"
        site.open_gate()
        assert metadata(launched.result())["starts"] == 1
    assert site.count("made") == 4


def test_an_api_server_that_stays_away_ends_the_run_and_not_the_job(
    site: Site, tmp_path: Path
) -> None:
    request = site.gated(num_parts=2, after=1)
    with proxied(tmp_path) as proxy:
        launched = site.launch_aside(request, kubeconfig=proxy.kubeconfig, patience_seconds=2)
        site.wait_for(lambda: site.count("parts") == 1)
        proxy.mode = "unavailable"
        assert "503" in failure(launched.result())
    site.running_pod()
    site.open_gate()
    assert metadata(site.launch(request))["starts"] == 1


def test_a_job_that_nobody_waits_for_is_deleted_after_a_grace(site: Site, tmp_path: Path) -> None:
    request = site.gated(num_parts=2, after=1)
    patient = KubernetesJobs(**site.config(unclaimed_grace_seconds=3_600))
    strict = KubernetesJobs(**site.config(unclaimed_grace_seconds=0))
    with proxied(tmp_path) as proxy:
        launched = site.launch_aside(request, kubeconfig=proxy.kubeconfig, patience_seconds=2)
        site.wait_for(lambda: site.count("parts") >= 1)
        assert strict.delete_orphans(site.instance) == []  # its run waits
        proxy.mode = "drop"
        failure(launched.result())
    assert patient.delete_orphans(site.instance) == []
    (job,) = site.api.list("jobs")
    with dg.DagsterInstance.ephemeral() as another:
        assert strict.delete_orphans(another) == []  # whose runs these are is not known there
    assert strict.delete_orphans(site.instance) == [job["metadata"]["name"]]
    site.wait_for(lambda: site.api.list("jobs") == [])


@contextmanager
def gpus(site: Site, number: int) -> Iterator[None]:
    """A node that says it has GPUs, for the scheduler only."""
    from kubernetes import client, config

    config.load_kube_config()
    core = client.CoreV1Api()
    node = core.list_node().items[0].metadata.name
    path = "/status/capacity/nvidia.com~1gpu"
    core.patch_node_status(node, [{"op": "add", "path": path, "value": str(number)}])
    try:
        yield
    finally:
        core.patch_node_status(node, [{"op": "remove", "path": path}])


def test_work_that_waits_for_a_gpu_starts_when_there_is_one(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    launched = site.launch_aside(
        Work(output=site.output), size=JobSize(gpus=1, cpus=0, memory_gib=1)
    )
    site.wait_for(lambda: site.api.list("pods"))
    time.sleep(3)
    with gpus(site, 2):
        shown = metadata(launched.result())
    assert shown["work_job_queue_seconds"] >= 2
    assert shown["work_job_size"] == "1 GPUs, 0 CPUs, 1 GiB"
    assert "Insufficient nvidia.com/gpu" in capfd.readouterr().err


def test_a_suspended_job_is_queued_until_it_is_resumed(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    launched = site.launch_aside(
        Work(output=site.output), queue="team", queue_seconds=60, start_seconds=20
    )
    site.wait_for(lambda: site.api.list("jobs"))
    (job,) = site.api.list("jobs")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert job["spec"]["suspend"] is True
    time.sleep(3)
    assert site.api.list("pods") == []
    site.api.patch("jobs", job["metadata"]["name"], {"spec": {"suspend": False}})
    assert metadata(launched.result())["work_job_queue_seconds"] >= 2
    assert "queued: suspended" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lost_node_is_reported_and_the_work_goes_on_when_it_is_back(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    kubelets = kubelet_processes()
    if not kubelets:
        pytest.skip("no kubelet runs on this machine, so no node can be taken away")
    launched = site.launch_aside(site.gated(num_parts=4, after=2))
    site.wait_for(lambda: site.count("parts") == 2)
    site.running_pod()
    told = ""
    signal_all(kubelets, signal.SIGSTOP)
    try:
        began = time.monotonic()
        while "node lost" not in told and time.monotonic() - began < 360:
            time.sleep(5)
            told += capfd.readouterr().err
    finally:
        signal_all(kubelets, signal.SIGCONT)
    site.open_gate()
    assert "node lost" in told
    assert metadata(launched.result(seconds=300))["starts"] >= 1
    assert site.count("parts") == 4


def kubelet_processes() -> list[int]:
    found = subprocess.run(["pgrep", "-x", "kubelet"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def signal_all(processes: list[int], number: int) -> None:
    for process in processes:
        os.kill(process, number)
