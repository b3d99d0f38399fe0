"""The platform of `k8s/example` as a test cluster can run it: in namespaces of its own, its image
replaced by this machine's folders, its Postgres by a server of this machine."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from snow_assets.home import CHECKOUT
from snow_resources.job_manifest import read_yaml, strategic_merge
from snow_resources.kubernetes_api import until
from tests.kubernetes.test_cancel import STATUS, ask
from tests.postgres import PASSWORDS

Json = dict[str, Any]

K8S = CHECKOUT / "k8s"
CALM = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "2Gi"}}


def kubectl(*words: str, given: str = "") -> str:
    done = subprocess.run(
        ["kubectl", *words], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(folder: Path) -> list[Json]:
    """All objects of a kustomization."""
    return [one for one in yaml.safe_load_all(kubectl("kustomize", str(folder))) if one]


_LAUNCH = """
mutation {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "snow", repositoryName: "__repository__", jobName: "%s"}
    runConfigData: {}
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_LOG = """
{ logsForRun(runId: "%s") {
  ... on EventConnection { events { ... on MessageEvent { message } } }
} }
"""


@dataclass(frozen=True)
class Platform:
    """Where it runs, and where its UI listens."""

    namespaces: dict[str, str]  # by the name that the manifests have
    lake: Path
    url: str
    viewer_url: str

    def launch(self, job: str, *, url: str = "") -> Any:
        return ask(url or self.url, _LAUNCH % job)["launchRun"]

    def status(self, run_id: str) -> str:
        return str(ask(self.url, STATUS % run_id)["runOrError"]["status"])

    def log(self, run_id: str) -> str:
        events = ask(self.url, _LOG % run_id)["logsForRun"]["events"]
        return "\n".join(event.get("message", "") for event in events)

    def objects(self, kind: str, namespace: str) -> list[Json]:
        told = kubectl("get", kind, "-n", self.namespaces[namespace], "-o", "json")
        return list(json.loads(told)["items"])


@contextmanager
def a_platform(folder: Path, *, postgres_port: int) -> Iterator[Platform]:
    """Up, and all of its pods ready; its namespaces are gone in the end."""
    suffix = uuid.uuid4().hex[:6]
    names = {name: f"{name}-{suffix}" for name in ("snow", "snow-jobs", "snow-sandbox")}
    lake = folder / "lake"
    before = os.umask(0)
    lake.mkdir(parents=True)
    host = _host(lake)
    docs = [_renamed(one, names) for one in rendered(K8S / "example")]
    docs = [one for one in docs if one["kind"] != "StatefulSet"]
    forwards: list[subprocess.Popen[bytes]] = []
    try:
        _apply([one for one in docs if one["kind"] == "Namespace"])
        _apply(_services(docs, names["snow"], postgres_port))
        told = json.loads(kubectl("get", "services", "-n", names["snow"], "-o", "json"))["items"]
        # Where a cluster has no DNS of its own.
        aliases = [
            {"ip": one["spec"]["clusterIP"], "hostnames": [one["metadata"]["name"]]} for one in told
        ]
        _configure(docs, names, lake, host, aliases)
        _apply([_secret(names["snow"])])
        _apply([_hosted(one, host, aliases) for one in docs if one["kind"] != "Service"])
        _await_pods(names["snow"])
        ports = {}
        for service in ("webserver", "viewer"):
            forward, ports[service] = _forwarded(names["snow"], service)
            forwards.append(forward)
        yield Platform(
            namespaces=names,
            lake=lake,
            url=f"http://127.0.0.1:{ports['webserver']}",
            viewer_url=f"http://127.0.0.1:{ports['viewer']}",
        )
    finally:
        for forward in forwards:
            forward.kill()
            forward.wait()
        kubectl("delete", "namespace", *names.values(), "--ignore-not-found", "--wait=false")
        os.umask(before)


def _apply(docs: list[Json]) -> None:
    kubectl("apply", "-f", "-", given=yaml.safe_dump_all(docs))


def _renamed(doc: Json, names: dict[str, str]) -> Json:
    metadata = doc["metadata"]
    if doc["kind"] == "Namespace":
        metadata["name"] = names[metadata["name"]]
    if "namespace" in metadata:
        metadata["namespace"] = names[metadata["namespace"]]
    for subject in doc.get("subjects", []):
        subject["namespace"] = names[subject["namespace"]]
    return doc


def _services(docs: list[Json], namespace: str, postgres_port: int) -> list[Json]:
    """Postgres's leads to this machine."""
    services = [one for one in docs if one["kind"] == "Service"]
    (postgres,) = (one for one in services if one["metadata"]["name"] == "postgres")
    del postgres["spec"]["selector"]
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "postgres", "namespace": namespace},
        "subsets": [
            {
                "addresses": [{"ip": os.environ["SNOW_TEST_HOST"]}],
                "ports": [{"port": postgres_port}],
            }
        ],
    }
    return [*services, endpoints]


def _secret(namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "snow-postgres", "namespace": namespace},
        "stringData": {
            "postgresql-password": PASSWORDS["DAGSTER_PASSWORD"],
            "mlflow-password": PASSWORDS["MLFLOW_PASSWORD"],
        },
    }


def _host(lake: Path) -> Json:
    """This machine's folders, the lake among them, as a patch on Jobs."""
    patch = read_yaml(Path(os.environ["SNOW_TEST_POD_PATCH"]))
    mount = {"name": "lake", "mountPath": str(lake)}
    volume = {"name": "lake", "hostPath": {"path": str(lake)}}
    more = {"volumes": [volume], "containers": [{"name": "work", "volumeMounts": [mount]}]}
    return strategic_merge(patch, {"spec": {"template": {"spec": more}}})


def _hosted(doc: Json, host: Json, aliases: list[Json]) -> Json:
    """A Deployment that runs from this machine's folders."""
    if doc["kind"] != "Deployment":
        return doc
    pod = host["spec"]["template"]["spec"]
    (container,) = doc["spec"]["template"]["spec"]["containers"]
    ours = {
        **pod["containers"][0],
        "name": container["name"],
        "resources": CALM,
        "image": os.environ["SNOW_TEST_IMAGE"],
        "env": [_PATH],
    }
    if container["name"] == "code-location":
        ours["command"] = [*container["command"][:-1], "tests.kubernetes.platform_definitions"]
    change = {"containers": [ours], "volumes": pod["volumes"], "hostAliases": aliases}
    return strategic_merge(doc, {"spec": {"template": {"spec": change}}})


_PATH = {"name": "PATH", "value": f"{Path(sys.executable).parent}:/usr/bin:/bin"}


def _configure(
    docs: list[Json], names: dict[str, str], lake: Path, host: Json, aliases: list[Json]
) -> None:
    """The site's settings, in its three ConfigMaps."""
    maps = {one["metadata"]["name"]: one["data"] for one in docs if one["kind"] == "ConfigMap"}
    image, pod = os.environ["SNOW_TEST_IMAGE"], host["spec"]["template"]["spec"]
    settings = maps["settings"]
    del settings["AWS_SHARED_CREDENTIALS_FILE"], settings["AWS_ENDPOINT_URL"]
    settings |= {
        "SNOW_RECIPE": "SMOKE",
        "SNOW_LAKE": str(lake),
        "DAGSTER_CURRENT_IMAGE": image,
        "MLFLOW_ARTIFACTS_DESTINATION": "/tmp/artifacts",
    }
    jobs = yaml.safe_load(maps["jobs"]["jobs.yaml"])
    jobs |= {
        "namespace": names["snow-jobs"],
        "sandbox_namespace": names["snow-sandbox"],
        "images": {"trainer": image},
        "pythons": {"trainer": sys.executable},
    }
    maps["jobs"] |= {"jobs.yaml": yaml.safe_dump(jobs), "patch.yaml": yaml.safe_dump(host)}
    dagster = yaml.safe_load(maps["dagster"]["dagster.yaml"])
    launcher = dagster["run_launcher"]["config"]
    launcher |= {"job_namespace": names["snow"], "resources": CALM, "image_pull_policy": "Never"}
    launcher["volumes"] += pod["volumes"]
    launcher["volume_mounts"] += pod["containers"][0]["volumeMounts"]
    launcher["run_k8s_config"]["pod_spec_config"]["hostAliases"] = aliases
    launcher["run_k8s_config"]["container_config"] = {"env": [_PATH], "workingDir": str(CHECKOUT)}
    dagster["run_monitoring"]["poll_interval_seconds"] = 5
    maps["dagster"]["dagster.yaml"] = yaml.safe_dump(dagster)


def _await_pods(namespace: str) -> None:
    def is_ready() -> bool:
        pods = json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        states = [pod["status"].get("containerStatuses") for pod in pods]
        return bool(pods) and all(state and state[0]["ready"] for state in states)

    if not until(is_ready, seconds=300, every=2):
        told = kubectl("get", "pods", "-n", namespace)
        logs = kubectl(
            "logs",
            "-n",
            namespace,
            "-l",
            "app.kubernetes.io/part-of=snow",
            "--tail=40",
            "--prefix",
            "--ignore-errors",
        )
        raise AssertionError(f"{told}\n{logs}")


def _forwarded(namespace: str, service: str) -> tuple[subprocess.Popen[bytes], int]:
    """A port of this machine that leads to the service, while the process lives."""
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "-n", namespace, f"service/{service}", ":80"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert forward.stdout
    line = forward.stdout.readline().decode()
    assert "127.0.0.1:" in line, line
    time.sleep(0.1)
    return forward, int(line.split("127.0.0.1:")[1].split()[0])
