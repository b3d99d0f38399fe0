"""`dagster-k8s/config` of an asset and of a run shapes the work Jobs, as dagster-k8s parses it."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
from dagster_k8s.job import USER_DEFINED_K8S_CONFIG_KEY

from snow_assets.defs.dagster_assets import stage_assets
from snow_assets.defs.graph import STAGES
from snow_assets.recipe import SMOKE
from snow_resources.gpu_jobs import JobSize
from snow_resources.k8s_config import ASSET_TAG, RUN_TAG, k8s_config_patches
from snow_resources.kubernetes_jobs import KubernetesJobs
from tests.kubernetes.conftest import Site, failure, worked_asset
from tests.kubernetes.test_manifest import rendered
from tests.kubernetes.work_job import Work

A100 = {
    "container_config": {
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
        "volume_mounts": [{"name": "weights", "mount_path": "/weights", "read_only": True}],
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
    },
    "pod_template_spec_metadata": {"labels": {"team": "search"}},
    "pod_spec_config": {
        "node_selector": {"cloud.google.com/gke-accelerator": "nvidia-a100-80gb"},
        "service_account_name": "weights-reader",
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [{"name": "weights", "persistent_volume_claim": {"claim_name": "weights"}}],
    },
    "job_metadata": {"annotations": {"cost-center": "42"}},
    "job_spec_config": {"ttl_seconds_after_finished": 60},
}


def tags(tag: str, config: Mapping[str, Any]) -> dict[str, str]:
    return {tag: json.dumps(config)}


def test_the_tag_is_dagster_k8s_own() -> None:
    assert ASSET_TAG == USER_DEFINED_K8S_CONFIG_KEY


def test_an_assets_config_adds_to_the_job_and_keeps_what_it_does_not_name() -> None:
    plain = rendered(JobSize(gpus=1, memory_gib=64))
    job = rendered(
        JobSize(gpus=1, memory_gib=64), patches=k8s_config_patches(tags(ASSET_TAG, A100), {})
    )
    kubernetes_validate.validate(job, "1.37", strict=True)
    pod, template = job["spec"]["template"]["spec"], job["spec"]["template"]
    (container,), (before,) = pod["containers"], plain["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "2"}
    assert container["resources"]["requests"] == before["resources"]["requests"]
    assert (container["image"], container["command"]) == (before["image"], before["command"])
    assert container["env"] == [*before["env"], {"name": "NCCL_DEBUG", "value": "INFO"}]
    mount = {"name": "weights", "mountPath": "/weights", "readOnly": True}
    assert container["volumeMounts"] == [*before["volumeMounts"], mount]
    assert pod["serviceAccountName"] == "weights-reader"
    assert pod["nodeSelector"] == A100["pod_spec_config"]["node_selector"]
    assert pod["tolerations"] == A100["pod_spec_config"]["tolerations"]
    assert pod["volumes"][-1]["persistentVolumeClaim"] == {"claimName": "weights"}
    assert template["metadata"]["labels"]["team"] == "search"
    assert job["metadata"]["annotations"]["cost-center"] == "42"
    assert job["metadata"]["labels"] == plain["metadata"]["labels"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert pod["securityContext"] == plain["spec"]["template"]["spec"]["securityContext"]


def test_a_runs_config_outweighs_its_assets() -> None:
    asset = tags(ASSET_TAG, {"container_config": {"resources": {"requests": {"cpu": "4"}}}})
    run = tags(RUN_TAG, {"container_config": {"resources": {"requests": {"cpu": "8"}}}})
    job = rendered(JobSize(cpus=2), patches=k8s_config_patches(asset, run))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "8", "memory": "8Gi"}


def test_the_shape_of_a_runs_own_pod_is_not_its_jobs() -> None:
    run = tags(ASSET_TAG, {"container_config": {"resources": {"requests": {"cpu": "8"}}}})
    assert k8s_config_patches({}, run) == []


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("container_config", "image", "another:1"),
        ("container_config", "command", ["sleep"]),
        ("pod_spec_config", "restart_policy", "Always"),
        ("job_spec_config", "completions", 3),
        ("job_metadata", "name", "mine"),
        ("job_config", "spec", {"suspend": True}),
    ],
)
def test_what_the_job_client_sets_itself_is_refused_by_name(
    section: str, field: str, value: object
) -> None:
    with pytest.raises(dg.Failure, match=rf"'{ASSET_TAG}' sets {section}\.{field}"):
        k8s_config_patches(tags(ASSET_TAG, {section: {field: value}}), {})


@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_what_jobs_are_found_and_leased_by_is_refused(kind: str) -> None:
    config = {"job_metadata": {kind: {"snow/digest": "0"}}}
    with pytest.raises(dg.Failure, match=rf"sets job_metadata\.{kind}\['snow/digest'\]"):
        k8s_config_patches({}, tags(RUN_TAG, config))


def test_a_section_that_dagster_k8s_does_not_know_is_refused() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="container_confg"):
        k8s_config_patches(tags(ASSET_TAG, {"container_confg": {}}), {})


def test_a_sites_file_gives_assets_their_tags() -> None:
    assets = stage_assets(STAGES, SMOKE, in_cluster=True, k8s_config={"quality_scores": A100})
    op_tags = {asset.key.to_user_string(): asset.op.tags for asset in assets}
    assert json.loads(op_tags["quality_scores"][ASSET_TAG]) == A100
    assert ASSET_TAG not in op_tags["quality_annotator"]


def test_jobs_of_an_asset_that_has_none_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="configures Jobs of 'tokenizer', which has none"):
        stage_assets(STAGES, SMOKE, k8s_config={"tokenizer": A100})


@pytest.mark.cluster
def test_a_clusters_job_has_the_config_of_its_asset_and_of_its_run(site: Site) -> None:
    asset = {"pod_template_spec_metadata": {"labels": {"team": "search"}}}
    run = {"container_config": {"env": [{"name": "FROM_RUN", "value": "1"}]}}
    worked = worked_asset(Work(output=site.output), JobSize(cpus=0, memory_gib=1), asset)
    result = dg.materialize(
        [worked],
        resources={"jobs": KubernetesJobs(**site.config())},
        instance=site.instance,
        tags=tags(RUN_TAG, run),
        raise_on_error=False,
    )
    assert result.success, failure(result)
    [job] = site.api.list("jobs")
    template = job["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "search"
    (container,) = template["spec"]["containers"]
    assert {"name": "FROM_RUN", "value": "1"} in container["env"]
