"""`kubectl apply -k k8s/base`: valid, accepted, kept; and its account may do what a run does."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from snow_assets.home import CHECKOUT
from snow_resources.kubernetes_api import KubernetesApi, KubernetesRefusedError, until
from tests.kubernetes.conftest import a_site, metadata
from tests.kubernetes.test_manifest import lost
from tests.kubernetes.test_sandbox import a_request, execute
from tests.kubernetes.work_job import Work

BASE = CHECKOUT / "k8s" / "base"
MANIFESTS = [
    manifest
    for path in sorted(BASE.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for manifest in yaml.safe_load_all(path.read_text())
]


def called(manifest: dict[str, Any]) -> str:
    found = manifest["metadata"]
    return f"{manifest['kind']}-{found.get('namespace', '')}-{found['name']}"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=called)
def test_a_manifest_is_valid_for_a_current_server(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_only_the_runs_account_may_do_anything_and_never_read_a_secret() -> None:
    roles = [one for one in MANIFESTS if one["kind"] == "Role"]
    bindings = [one for one in MANIFESTS if one["kind"] == "RoleBinding"]
    assert {subject["name"] for one in bindings for subject in one["subjects"]} == {"snow-run"}
    rules = [rule for role in roles for rule in role["rules"]]
    assert not any(word in ("secrets", "*") for rule in rules for word in rule["resources"])
    assert not any("*" in rule["verbs"] for rule in rules)
    assert {role["metadata"]["namespace"] for role in roles} == {"snow-jobs", "snow-sandbox"}
    assert not any(one["kind"].startswith("Cluster") for one in MANIFESTS)


def kubectl(*words: str) -> str:
    return subprocess.run(["kubectl", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def _applied(cluster: None) -> Iterator[None]:
    if "namespace/snow\n" in kubectl("get", "namespaces", "-o", "name"):
        pytest.skip("this cluster has a namespace `snow` already, and it may be in use")
    kubectl("apply", "-k", str(BASE))
    yield
    kubectl("delete", "-k", str(BASE))


@pytest.mark.cluster
@pytest.mark.usefixtures("_applied")
def test_the_server_keeps_the_base_and_the_runs_account_needs_no_more(tmp_path: Path) -> None:
    for manifest in MANIFESTS:
        where = manifest["metadata"].get("namespace", "default")
        told = kubectl(
            "get", manifest["kind"], manifest["metadata"]["name"], "-n", where, "-o", "yaml"
        )
        assert lost(manifest, yaml.safe_load(told)) == []
    mine = as_account(tmp_path / "kubeconfig")
    with a_site("snow-jobs", tmp_path) as site:
        accounts = kubectl("get", "serviceaccounts", "-n", "snow-jobs", "-o", "name")
        assert until(lambda: "default" in accounts, seconds=30)
        shown = metadata(site.launch(Work(output=site.output), kubeconfig=mine))
        assert shown["starts"] == 1
        done = execute(
            site, a_request("y = 2\n"), kubeconfig=mine, sandbox_namespace="snow-sandbox"
        )
        assert [ran.verdict for ran in done.report.ran] == ["passed"]
    for namespace in ("snow", "snow-jobs", "snow-sandbox"):
        words = ("--kubeconfig", mine, "auth", "can-i", "get", "secrets", "-n", namespace)
        told = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
        assert told.stdout == "no\n"
    with pytest.raises(KubernetesRefusedError, match="403"):
        KubernetesApi("snow", patience_seconds=5, kubeconfig=mine).list("jobs")


def as_account(path: Path) -> str:
    """A kubeconfig with the token of the runs' account."""
    from kubernetes import client, config

    config.load_kube_config()
    spec = {"spec": {"expirationSeconds": 3600, "audiences": []}}
    token = client.CoreV1Api().create_namespaced_service_account_token("snow-run", "snow", spec)
    known = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "-o", "yaml"))
    known["users"] = [{"name": "run", "user": {"token": token.status.token}}]
    known["contexts"][0]["context"]["user"] = "run"
    path.write_text(yaml.safe_dump(known))
    return str(path)
