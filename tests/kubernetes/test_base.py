"""`kubectl apply -k` of base and platform: valid, accepted, kept; a run's account does its work."""

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
from tests.kubernetes.platform import kubectl, rendered
from tests.kubernetes.test_manifest import lost
from tests.kubernetes.test_sandbox import a_request, execute
from tests.kubernetes.work_job import Work

K8S = CHECKOUT / "k8s"
MANIFESTS = [
    manifest
    for folder in ("base", "platform", "example")
    for path in sorted((K8S / folder).glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
    if "apiVersion" in manifest and manifest["kind"] != "Kustomization"
]


def called(manifest: dict[str, Any]) -> str:
    found = manifest["metadata"]
    return f"{manifest['kind']}-{found.get('namespace', '')}-{found['name']}"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=called)
def test_a_manifest_is_valid_for_a_current_server(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_only_the_runs_account_may_create_work_and_nobody_reads_a_secret() -> None:
    roles = [one for one in MANIFESTS if one["kind"] == "Role"]
    bindings = [one for one in MANIFESTS if one["kind"] == "RoleBinding"]
    for binding in bindings:
        assert [one["name"] for one in binding["subjects"]] == [binding["roleRef"]["name"]]
        assert binding["metadata"]["name"] == binding["roleRef"]["name"]
    rules = [rule for role in roles for rule in role["rules"]]
    assert not any(word in ("secrets", "*") for rule in rules for word in rule["resources"])
    assert not any("*" in rule["verbs"] for rule in rules)
    assert not any(one["kind"].startswith("Cluster") for one in MANIFESTS)
    creating = {
        (role["metadata"]["name"], role["metadata"]["namespace"])
        for role in roles
        if any("create" in rule["verbs"] for rule in role["rules"])
    }
    # The daemon starts the pods of runs, and those the work.
    assert creating == {
        ("snow-daemon", "snow"),
        ("snow-run", "snow-jobs"),
        ("snow-run", "snow-sandbox"),
    }


@pytest.fixture
def _applied(cluster: None) -> Iterator[None]:
    if "namespace/snow\n" in kubectl("get", "namespaces", "-o", "name"):
        pytest.skip("this cluster has a namespace `snow` already, and it may be in use")
    kubectl("apply", "-k", str(K8S / "example"))  # and with it base and platform
    yield
    kubectl("delete", "-k", str(K8S / "example"))


@pytest.mark.cluster
@pytest.mark.usefixtures("_applied")
def test_the_server_keeps_every_field_and_the_runs_account_needs_no_more(tmp_path: Path) -> None:
    for manifest in rendered(K8S / "example"):
        where = manifest["metadata"].get("namespace", "default")
        told = kubectl(
            "get", manifest["kind"], manifest["metadata"]["name"], "-n", where, "-o", "yaml"
        )
        kubernetes_validate.validate(manifest, "1.37", strict=True)
        assert lost(manifest, yaml.safe_load(told)) == []
    mine = as_account(tmp_path / "kubeconfig")
    with a_site("snow-jobs", tmp_path) as site:
        words = ("get", "serviceaccounts", "-n", "snow-jobs", "-o", "name")
        assert until(lambda: "default" in kubectl(*words), seconds=120)
        shown = metadata(site.launch(Work(output=site.output), kubeconfig=mine))
        assert shown["starts"] == 1
        done = execute(
            site,
            a_request("def f(): return 1\n"),
            kubeconfig=mine,
            sandbox_namespace="snow-sandbox",
        )
        assert [ran.outcome for ran in done.report.ran] == ["passed"]
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
