"""What the Job client costs: time until a pod speaks beside `kubectl create`, calls while it waits.

Run from the checkout with the variables that the cluster tests need (KUBECONFIG, SNOW_TEST_IMAGE,
SNOW_TEST_POD_PATCH, SNOW_TEST_HOST): `python benchmarks/kubernetes_client.py`. The same Job is
created both ways in turn; its first act tells the time. The calls are counted by a proxy before the
API server, over the last minutes of a Job so long that the pauses reach their longest.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from kubernetes import client, config

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from snow_resources.gpu_jobs import JobSize  # noqa: E402
from snow_resources.kubernetes_api import KubernetesApi, until  # noqa: E402
from snow_resources.kubernetes_jobs import KubernetesJobs  # noqa: E402
from tests.kubernetes.conftest import worked_asset  # noqa: E402
from tests.kubernetes.proxy import proxied  # noqa: E402
from tests.kubernetes.work_job import Work  # noqa: E402

RUNS = 5
IDLE_SECONDS, COUNTED_SECONDS = 360, 120


def first_line_seconds(lake: Path, started: float) -> float:
    """From `started` to the first thing that the job's module did."""
    folder = lake / "starts"
    assert until(lambda: folder.exists() and any(folder.iterdir()), seconds=120, every=0.02)
    (told,) = (int(path.name) for path in folder.iterdir())
    return told / 1e9 - started


def launch(jobs: KubernetesJobs, request: Work) -> None:
    quiet = {"telemetry": {"enabled": False}}
    with tempfile.TemporaryDirectory() as home, dg.DagsterInstance.local_temp(home, quiet) as made:
        dg.materialize(
            [worked_asset(request, JobSize(cpus=0, memory_gib=1))],
            resources={"jobs": jobs},
            instance=made,
        )


def by_client(jobs: KubernetesJobs, request: Work) -> float:
    """Seconds from the call of `run` to the first line, and the Job as it was made."""
    began: list[float] = []
    work = KubernetesJobs.work

    def timed(self: KubernetesJobs, *given: Any) -> int:
        began.append(time.time())
        return work(self, *given)

    KubernetesJobs.work = timed  # type: ignore[method-assign]
    launch(jobs, request)
    KubernetesJobs.work = work  # type: ignore[method-assign]
    return first_line_seconds(Path(request.output), began[0])


def by_kubectl(job: dict[str, Any], namespace: str, folder: Path, output: Path) -> float:
    """The same Job under another name, its module writing to another output."""
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    attempt = folder / name
    attempt.mkdir(parents=True)
    (attempt / "request.json").write_text(json.dumps({"output": str(output)}))
    spec = {key: job["spec"][key] for key in ("backoffLimit", "ttlSecondsAfterFinished")}
    template = job["spec"]["template"]
    pod = {**template["spec"]}
    (work,) = pod["containers"]
    pod["containers"] = [{**work, "command": [*work["command"][:3], str(attempt)]}]
    manifest = folder / f"{name}.yaml"
    manifest.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {**spec, "template": {"spec": pod}},
            }
        )
    )
    started = time.time()
    subprocess.run(["kubectl", "create", "-f", str(manifest)], check=True, capture_output=True)
    return first_line_seconds(output, started)


def main() -> None:
    config.load_kube_config()
    core, namespace = client.CoreV1Api(), f"snow-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": namespace}})
    os.umask(0)
    with tempfile.TemporaryDirectory() as home:
        lake = Path(home) / "lake"
        lake.mkdir()
        mount = {"name": "lake", "mountPath": str(lake)}
        patch = {
            "spec": {
                "template": {
                    "spec": {
                        "volumes": [{"name": "lake", "hostPath": {"path": str(lake)}}],
                        "containers": [{"name": "work", "volumeMounts": [mount]}],
                    }
                }
            }
        }
        (Path(home) / "lake.yaml").write_text(yaml.safe_dump(patch))
        settings: dict[str, Any] = {
            "url": str(lake / "jobs"),
            "namespace": namespace,
            "images": {"trainer": os.environ["SNOW_TEST_IMAGE"]},
            "pythons": {"trainer": sys.executable},
            "patches": [os.environ["SNOW_TEST_POD_PATCH"], str(Path(home) / "lake.yaml")],
        }
        try:
            _first_lines(settings, namespace, lake)
            _idle_calls(settings, lake, Path(home))
        finally:
            core.delete_namespace(namespace)


def _first_lines(settings: dict[str, Any], namespace: str, lake: Path) -> None:
    api = KubernetesApi(namespace, patience_seconds=30)
    pairs = []
    for number in range(RUNS + 1):  # the first pair warms what is cached
        ours = by_client(KubernetesJobs(**settings), Work(output=str(lake / f"ours-{number}")))
        job = max(api.list("jobs"), key=lambda one: one["metadata"]["creationTimestamp"])
        theirs = by_kubectl(job, namespace, lake / "by-hand", lake / f"theirs-{number}")
        pairs.append((ours, theirs))
    ours, theirs = zip(*pairs[1:], strict=True)
    print(
        f"first line: ours {statistics.median(ours):.2f} s, kubectl create "
        f"{statistics.median(theirs):.2f} s, difference "
        f"{statistics.median(a - b for a, b in pairs[1:]):.2f} s (median of {RUNS})"
    )


def _idle_calls(settings: dict[str, Any], lake: Path, home: Path) -> None:
    with proxied(home) as proxy:
        jobs = KubernetesJobs(**settings, kubeconfig=proxy.kubeconfig)
        request = Work(output=str(lake / "idle"), part_seconds=IDLE_SECONDS)
        thread = threading.Thread(target=launch, args=(jobs, request))
        thread.start()
        time.sleep(IDLE_SECONDS - COUNTED_SECONDS - 20)
        before = proxy.num_calls
        time.sleep(COUNTED_SECONDS)
        calls = proxy.num_calls - before
        thread.join()
    print(f"idle: {calls * 60 / COUNTED_SECONDS:.1f} API calls a minute")


if __name__ == "__main__":
    main()
