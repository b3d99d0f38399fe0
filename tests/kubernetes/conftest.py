"""The cluster that KUBECONFIG names, a namespace of it for each test, and a way to launch."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from snow_assets.home import CHECKOUT
from snow_assets.storage import shards
from snow_resources.gpu_jobs import JobSize, Watch
from snow_resources.k8s_config import ASSET_TAG
from snow_resources.kubernetes_api import KubernetesApi, until
from snow_resources.kubernetes_jobs import KubernetesJobs
from tests.kubernetes.work_job import Work, Worked

_NEEDED = ("KUBECONFIG", "SNOW_TEST_IMAGE", "SNOW_TEST_POD_PATCH", "SNOW_TEST_HOST")


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skip where no cluster is named; fail where one must be."""
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        assert not os.environ.get("REQUIRE_KUBERNETES"), f"REQUIRE_KUBERNETES, but no {missing}"
        pytest.skip(f"no Kubernetes to test with: {', '.join(missing)} not set")


@pytest.fixture
def namespace(cluster: None) -> Iterator[str]:
    """A new namespace; it must hold no live pod when the test is over."""
    from kubernetes import client, config

    config.load_kube_config()
    name, core = f"snow-{uuid.uuid4().hex[:8]}", client.CoreV1Api()
    core.create_namespace({"metadata": {"name": name}})
    api = KubernetesApi(name, patience_seconds=30)
    assert until(lambda: bool(core.list_namespaced_service_account(name).items), seconds=120)
    try:
        yield name
        assert until(lambda: not live_pods(api), seconds=300), [
            (pod["metadata"]["name"], pod["status"]) for pod in live_pods(api)
        ]
        # The controller tells that a Job has ended when it has seen that its pod did.
        assert until(lambda: not live_jobs(api), seconds=120), live_jobs(api)
    finally:
        core.delete_namespace(name)


def live_jobs(api: KubernetesApi) -> list[str]:
    return [job["metadata"]["name"] for job in api.list("jobs") if not has_ended(job)]


def live_pods(api: KubernetesApi) -> list[dict[str, Any]]:
    found = api.list("pods")
    return [pod for pod in found if pod["status"].get("phase") not in ("Succeeded", "Failed")]


def has_ended(job: dict[str, Any]) -> bool:
    return any(one["status"] == "True" for one in job["status"].get("conditions") or ())


def worked_asset(
    request: Work, size: JobSize, k8s_config: dict[str, Any] | None = None
) -> dg.AssetsDefinition:
    """One asset that runs the job."""

    @dg.asset(op_tags={ASSET_TAG: k8s_config} if k8s_config else None)
    def worked(context: dg.AssetExecutionContext, jobs: KubernetesJobs) -> Any:
        done = jobs.run(
            context,
            "tests.kubernetes.work_job",
            request,
            report=Worked,
            code_version="1",
            size=size,
        )
        return dg.MaterializeResult(
            metadata={
                "starts": max(report.starts for report in done.reports),
                "made": sum(report.made for report in done.reports),
                "reports": len(done.reports),
                "attempt": done.attempt,
                "folder": done.folder,
            }
        )

    return worked


@dataclass
class Site:
    """A namespace, a lake that its pods share, and what launches there said."""

    namespace: str
    lake: Path
    patches: list[str]
    api: KubernetesApi
    instance: dg.DagsterInstance
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> str:
        return str(self.lake / "output")

    def gated(self, *, num_parts: int, after: int) -> Work:
        """Work that stops after some parts until the gate is opened."""
        gate = str(self.lake / "gate")
        return Work(output=self.output, num_parts=num_parts, gate=gate, gated_part=after)

    def open_gate(self) -> None:
        (self.lake / "gate").touch()

    def config(self, **settings: Any) -> dict[str, Any]:
        """What a launch in this site sets, and what it sets differently."""
        image = os.environ["SNOW_TEST_IMAGE"]
        ours = {
            "url": str(self.lake / "jobs"),
            "namespace": self.namespace,
            "images": {"trainer": image, "engine": image},
            "pythons": {"trainer": sys.executable, "engine": sys.executable},
            "patches": self.patches,
            "sandbox_patches": self.patches[:1],
            "sandbox_canary": f"{os.environ['SNOW_TEST_HOST']}:1",  # nothing listens there
            "start_seconds": 300,
        }
        return ours | settings

    def launch(
        self, request: Work, *, size: JobSize | None = None, **settings: Any
    ) -> dg.ExecuteInProcessResult:
        """Materialize it here; what fails is in the result."""
        chosen = size or JobSize(cpus=0, memory_gib=1)

        return dg.materialize(
            [worked_asset(request, chosen)],
            resources={"jobs": KubernetesJobs(**self.config(**settings))},
            instance=self.instance,
            raise_on_error=False,
        )

    def run(
        self,
        module: str,
        request: Any,
        report: type[Any],
        size: JobSize,
        watch: Callable[[dg.AssetExecutionContext], Watch] | None = None,
        **settings: Any,
    ) -> Any:
        """What any module's job reports."""
        done: list[Any] = []

        @dg.asset
        def anything(context: dg.AssetExecutionContext, jobs: KubernetesJobs) -> Any:
            watched: dict[str, Any] = {"watch": watch(context)} if watch else {}
            done.append(
                jobs.run(
                    context,
                    module,
                    request,
                    report=report,
                    code_version="1",
                    size=size,
                    **watched,
                )
            )
            return dg.MaterializeResult()

        result = dg.materialize(
            [anything],
            resources={"jobs": KubernetesJobs(**self.config(**settings))},
            instance=self.instance,
            raise_on_error=False,
        )
        assert result.success, failure(result)
        return done[0]

    def launch_aside(self, request: Work, **settings: Any) -> "Launched":
        return Launched(lambda: self.launch(request, **settings))

    def wait_for(self, condition: Callable[[], Any], *, seconds: float = 180) -> None:
        assert until(lambda: bool(condition()), seconds=seconds, every=0.2), "it never came to be"

    def running_pods(self) -> list[dict[str, Any]]:
        return [pod for pod in self.api.list("pods") if pod["status"].get("phase") == "Running"]

    def running_pod(self) -> dict[str, Any]:
        """The only one; a kubelet takes a moment to tell that it runs."""
        self.wait_for(self.running_pods)
        (pod,) = self.running_pods()
        return pod

    def count(self, what: str) -> int:
        """Of the starts, the parts, or each making of a part."""
        return len(shards.names(shards.join(self.output, what)))


class Launched:
    """A launch in a thread of its own; one at a time: Dagster's logging deadlocks between two."""

    def __init__(self, launch: Callable[[], dg.ExecuteInProcessResult]) -> None:
        self._results: list[dg.ExecuteInProcessResult] = []
        self._thread = threading.Thread(target=lambda: self._results.append(launch()))
        self._thread.start()

    def result(self, *, seconds: float = 300) -> dg.ExecuteInProcessResult:
        self._thread.join(seconds)
        assert self._results, f"the launch has not ended within {seconds} s"
        return self._results[0]


def run_worker(site: Site, request: Work, home: Path) -> subprocess.Popen[bytes]:
    """A run in a process group of its own, as a run launcher starts one."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    told = json.dumps({"config": site.config(), "request": asdict(request)})
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dagster",
            "job",
            "execute",
            "-m",
            "tests.kubernetes.definitions",
            "-j",
            "working",
        ],
        cwd=CHECKOUT,
        env={**os.environ, "SITE": told, "DAGSTER_HOME": str(home)},
        stdout=(home / "log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def claims_of(site: Site) -> list[str]:
    return [
        name
        for job in site.api.list("jobs")
        for name in job["metadata"].get("annotations", {})
        if name.startswith("snow-claim/")
    ]


@contextmanager
def a_site(namespace: str, folder: Path) -> Iterator[Site]:
    """Pods run as another user than the tests: what is shared is open to both."""
    lake = folder / "lake"
    before = os.umask(0)
    lake.mkdir()
    mount = {"name": "lake", "mountPath": str(lake)}
    patch = folder / "lake.yaml"
    patch.write_text(
        yaml.safe_dump(
            {
                "spec": {
                    "template": {
                        "spec": {
                            "volumes": [{"name": "lake", "hostPath": {"path": str(lake)}}],
                            "containers": [{"name": "work", "volumeMounts": [mount]}],
                        }
                    }
                }
            }
        )
    )
    (folder / "dagster").mkdir()
    # Dagster keeps what a run prints by a `tail`, which never ends where a thread starts it and
    # SIGINT is ignored, as in the background of a shell.
    nothing = {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    overrides = {"telemetry": {"enabled": False}, "compute_logs": nothing}
    with dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides) as instance:
        yield Site(
            namespace=namespace,
            lake=lake,
            instance=instance,
            patches=[os.environ["SNOW_TEST_POD_PATCH"], str(patch)],
            api=KubernetesApi(namespace, patience_seconds=30),
        )
    os.umask(before)


@pytest.fixture
def site(namespace: str, tmp_path: Path) -> Iterator[Site]:
    with a_site(namespace, tmp_path) as made:
        yield made


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the asset shows; the run must have succeeded."""
    assert result.success, failure(result)
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    return str(event.step_failure_data.error)
