"""Rendered Jobs: valid, restricted, as the site's patches have them, and kept by the server."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from snow_assets.defs.synthesis import worker_size
from snow_assets.recipe import ARCTIC
from snow_resources.gpu_jobs import Job, JobSize
from snow_resources.job_manifest import job_name, read_yaml, render, strategic_merge
from snow_resources.kubernetes_job_leases import wait_until_deleted
from tests.kubernetes.conftest import Site
from tests.kubernetes.policy import faults, work_faults

SIZES = {
    "no GPU": JobSize(),
    "a GPU": JobSize(gpus=1, cpus=8, memory_gib=64),
    "vLLM": JobSize(gpus=8, cpus=64, memory_gib=512, environment="vllm"),
}


def a_job(*, asset: str = "quality_scores", partition: str = "python") -> Job:
    return Job(
        module="snow_assets.quality.scoring",
        request=b"{}",
        asset=asset,
        partition=partition,
        digest="0123456789abcdef0123456789abcdef",
        url="s3://bucket/lake/jobs/x",
    )


def rendered(size: JobSize, **more: Any) -> dict[str, Any]:
    ours: dict[str, Any] = {
        "run_id": "0d5c1c0e-8a3f-4b7c-9d59-6d0a4c1a2b3c",
        "image": "registry.example/trainer:1",
        "python": "python",
        "environment": {"DAGSTER_PIPES_MESSAGES": "x"},
        "run_seconds": 3600,
        "has_failure_policy": True,
    }
    return render(a_job(), 1, size, **(ours | more))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("queue", ["", "team-queue"])
def test_a_rendered_job_is_valid_for_a_current_server_and_keeps_to_the_policy(
    size: JobSize, queue: str
) -> None:
    made = rendered(size, queue=queue)
    kubernetes_validate.validate(made, "1.37", strict=True)
    assert faults(made) == []
    assert work_faults(made) == []


def test_a_jobs_memory_is_the_recipes() -> None:
    memory = replace(ARCTIC.operation.worker_memory, synthesis_gib=384)
    recipe = replace(ARCTIC, operation=replace(ARCTIC.operation, worker_memory=memory))
    (container,) = rendered(worker_size(recipe))["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["memory"] == "384Gi"
    assert container["resources"]["limits"]["memory"] == "384Gi"


@pytest.mark.parametrize("environment", ["trainer", "sandbox"])
def test_gpus_that_no_process_would_use_are_refused(environment: str) -> None:
    with pytest.raises(ValueError, match="a process uses one GPU"):
        JobSize(gpus=2, processes=1, environment=environment)
    assert JobSize(gpus=2, processes=2, environment=environment).gpus == 2


def test_the_policy_finds_what_a_patch_spoils() -> None:
    root = {"spec": {"template": {"spec": {"securityContext": {"runAsUser": 0}}}}}
    host = {"spec": {"template": {"spec": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}}}}
    key = {"name": "work", "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"}]}
    secret = {"spec": {"template": {"spec": {"containers": [key]}}}}
    for patch, word in ((root, "not root"), (host, "hostPath"), (secret, "refer to a secret")):
        (fault,) = faults(rendered(JobSize(), patches=[patch]))
        assert word in fault


def test_a_patch_adds_changes_and_removes_by_name() -> None:
    patch = {
        "metadata": {"labels": {"team": "code"}},
        "spec": {
            "ttlSecondsAfterFinished": 60,
            "template": {
                "spec": {
                    "nodeSelector": {"gpu": "h100"},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                    "volumes": [
                        {"name": "tmp", "emptyDir": {"sizeLimit": "9Gi"}},
                        {"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}},
                    ],
                    "containers": [
                        {
                            "name": "work",
                            "env": [
                                {"name": "HF_HOME", "value": "/lake/hf"},
                                {"name": "DO_NOT_TRACK", "$patch": "delete"},
                            ],
                            "volumeMounts": [{"name": "lake", "mountPath": "/lake"}],
                        }
                    ],
                }
            },
        },
    }
    made = rendered(JobSize(), patches=[patch])
    kubernetes_validate.validate(made, "1.37", strict=True)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert made["metadata"]["labels"]["team"] == "code"
    assert made["spec"]["ttlSecondsAfterFinished"] == 60
    assert variables["HF_HOME"] == "/lake/hf"
    assert "DO_NOT_TRACK" not in variables
    assert container["image"] == "registry.example/trainer:1"
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "9Gi"}
    assert "lake" in volumes
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_a_null_in_a_patch_removes_a_field() -> None:
    assert strategic_merge({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": None}}) == {
        "a": 1,
        "b": {"d": 3},
    }


@pytest.mark.parametrize(
    ("asset", "partition"),
    [("quality_scores", "c++"), ("a" * 80, "b" * 80), ("raw_code_corpus", "_src_/2026-11-01")],
)
def test_a_job_name_leaves_room_for_what_the_server_adds(asset: str, partition: str) -> None:
    name = job_name(a_job(asset=asset, partition=partition), 12)
    assert len(name) <= 52
    assert name == name.lower().strip("-")
    assert name.endswith("-0123456789-12")


def test_a_patch_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "patch.yaml").write_text("- a\n- b\n")
    with pytest.raises(ValueError, match=r"patch\.yaml holds list, not one Kubernetes object"):
        read_yaml(tmp_path / "patch.yaml")


@pytest.mark.cluster
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_server_keeps_every_field_that_it_knows(site: Site, size: JobSize) -> None:
    patches = [read_yaml(Path(os.environ["SNOW_TEST_POD_PATCH"]))]
    made = rendered(
        size,
        image=os.environ["SNOW_TEST_IMAGE"],
        has_failure_policy=False,
        queue="q",
        patches=patches,
    )
    site.api.create("jobs", made)
    kept = site.api.get("jobs", made["metadata"]["name"])
    assert lost(made, kept) == []
    site.api.delete("jobs", made["metadata"]["name"])
    wait_until_deleted(site.api, made["metadata"]["name"])


def lost(ours: Any, kept: Any, path: str = "") -> list[str]:
    """The paths that were set and do not read back."""
    if isinstance(ours, dict) and isinstance(kept, dict):
        return [one for name in ours for one in lost(ours[name], kept.get(name), f"{path}.{name}")]
    if isinstance(ours, list) and isinstance(kept, list) and len(ours) == len(kept):
        pairs = enumerate(zip(ours, kept, strict=True))
        return [one for index, (a, b) in pairs for one in lost(a, b, f"{path}[{index}]")]
    return [] if ours == kept or (ours is False and kept is None) else [f"{path}: {ours} -> {kept}"]
