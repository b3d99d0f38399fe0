"""The platform's manifests and settings, without a cluster: valid, restricted, and of one mind."""

from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.test_utils import create_run_for_test

from snow_assets.home import CHECKOUT
from snow_resources.job_manifest import read_yaml
from snow_resources.kubernetes_jobs import kubernetes_jobs
from tests.kubernetes.policy import faults
from tests.kubernetes.test_base import MANIFESTS, called

K8S = CHECKOUT / "k8s"
PODS = [one for one in MANIFESTS if "template" in one.get("spec", {})]
POSTGRES_IMAGE = (
    "postgres:17@sha256:d74eeac9a635390a49bc21bd49fccd973de707e2a53a76ac49b552b8712ec46f"
)
_TOKENS = {"daemon", "webserver", "viewer"}


@pytest.mark.parametrize("manifest", PODS, ids=called)
def test_a_pod_of_the_platform_keeps_to_the_policy(manifest: dict[str, Any]) -> None:
    assert faults(manifest) == []
    pod, name = manifest["spec"]["template"]["spec"], manifest["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is (name in _TOKENS)
    assert pod["enableServiceLinks"] is False


def test_a_service_or_policy_speaks_of_pods_that_are_there() -> None:
    there = [one["spec"]["template"]["metadata"]["labels"] for one in PODS]
    services = [one for one in MANIFESTS if one["kind"] == "Service"]
    assert {one["metadata"]["name"] for one in services} == {
        "code-location",
        "mlflow",
        "postgres",
        "viewer",
        "webserver",
    }
    for service in services:
        wanted = service["spec"]["selector"].items()
        assert any(wanted <= labels.items() for labels in there), service
    components = {labels["app.kubernetes.io/component"] for labels in there} | {"run_worker"}
    for policy in (one for one in MANIFESTS if one["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            for peer in rule["from"]:
                for asked in peer.get("podSelector", {}).get("matchExpressions", []):
                    assert set(asked["values"]) <= components


def a_run_worker(folder: Path) -> dict[str, Any]:
    """The Job that dagster.yaml's launcher would create for a run."""
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.job import construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    settings = yaml.safe_load((K8S / "platform" / "dagster.yaml").read_text())["run_launcher"]
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "nowhere",
        "clusters": [{"name": "nowhere", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    outside = {"load_incluster_config": False, "kubeconfig_file": str(folder / "kubeconfig")}
    launcher = K8sRunLauncher(**settings["config"] | outside)
    with dg.DagsterInstance.ephemeral() as instance:
        context = launcher.get_container_context_for_run(create_run_for_test(instance))
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(job_image="registry.example/snow:1", run_launcher=launcher),
        args=["dagster", "api", "execute_run", "x"],
        job_name="dagster-run-x",
        pod_name="x",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
    )
    made: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return made


def test_a_run_worker_is_valid_restricted_and_of_the_account_that_may_create_jobs(
    tmp_path: Path,
) -> None:
    made = a_run_worker(tmp_path)
    kubernetes_validate.validate(made, "1.37", strict=True)
    assert faults(made) == []
    pod = made["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "snow-run"
    assert made["spec"]["backoffLimit"] == 0
    assert pod["enableServiceLinks"] is False


def test_dagsters_settings_are_what_dagster_knows_and_repeat_no_failed_step() -> None:
    found, _ = dagster_instance_config(str(K8S / "platform"))
    assert found["telemetry"] == {"enabled": False}
    assert found["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert found["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert found["run_monitoring"]["cancel_timeout_seconds"] > 600  # a Job's end is waited for


def test_the_example_names_one_image_and_settings_that_load() -> None:
    example = K8S / "example"
    kustomization = read_yaml(example / "kustomization.yaml")
    (image,) = kustomization["images"]
    lines = (example / "settings.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["DAGSTER_CURRENT_IMAGE"] == f"{image['newName']}@{image['digest']}"
    assert {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in PODS} == {
        image["name"],
        POSTGRES_IMAGE,
    }
    jobs = kubernetes_jobs(example / Path(settings["SNOW_JOBS"]).name, url=settings["SNOW_LAKE"])
    assert (jobs.namespace, jobs.sandbox_namespace) == ("snow-jobs", "snow-sandbox")
    assert [Path(patch).exists() for patch in jobs.patches] == [True]


def test_the_charts_values_say_what_our_settings_say() -> None:
    values = read_yaml(K8S / "helm-values.yaml")
    ours = read_yaml(K8S / "platform" / "dagster.yaml")
    assert values["runLauncher"]["config"]["customRunLauncher"] == ours["run_launcher"]
    for name in ("run_monitoring", "run_retries"):
        assert values["additionalInstanceConfig"][name] == ours[name]
    chart, pools = values["concurrency"], ours["concurrency"]["pools"]
    assert chart["pools"] == {
        "granularity": pools["granularity"],
        "defaultLimit": pools["default_limit"],
    }
    assert chart["runs"]["maxConcurrentRuns"] == ours["concurrency"]["runs"]["max_concurrent_runs"]
    assert values["postgresql"]["enabled"] is False
