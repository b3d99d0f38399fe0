"""The whole recipe with every GPU step and the sandbox as Jobs in a cluster."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from snow_assets.home import CHECKOUT
from snow_assets.storage import shards
from snow_resources.kubernetes_api import KubernetesApi
from tests.whole.conftest import Installation, run_demo

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(2400)]

WORK = {
    "teacher_model",
    "quality_annotator",
    "quality_scores",
    "general_checkpoint",
    "synthetic_answers",
    "continued_checkpoint",
    "enhanced_checkpoint",
    "benchmark_results",
}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Pods run as another user than the tests: what is shared is open to both."""
    before = os.umask(0)
    made = tmp_path / "home"
    (made / "lake").mkdir(parents=True)
    yield made
    os.umask(before)


def put_settings(folder: Path, namespace: str, pod: dict[str, Any], work: dict[str, Any]) -> Path:
    """A site's files, with what its pods and their container have on top."""
    # Threads that wait by spinning stall the node's two cores, which other tests use, too.
    passive = {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"}
    work = {"name": "work", **work, "env": [passive, *work.get("env", [])]}
    patch = {"spec": {"template": {"spec": {**pod, "containers": [work]}}}}
    (folder / "site.yaml").write_text(yaml.safe_dump(patch))
    image, mounts = os.environ["SNOW_TEST_IMAGE"], os.environ["SNOW_TEST_POD_PATCH"]
    settings = {
        "namespace": namespace,
        "images": {"trainer": image, "vllm": image},
        "pythons": {
            "trainer": str(CHECKOUT / ".venv/bin/python"),
            "vllm": str(CHECKOUT / ".venv-vllm/bin/python"),
        },
        "patches": [mounts, "site.yaml"],
        "sandbox_patches": [mounts],
        "sandbox_canary": f"{os.environ['SNOW_TEST_HOST']}:1",  # nothing listens there
        "shards": {"scoring": 2, "fingerprint": 2},
        "parallelism": {"scoring": 1, "fingerprint": 1},  # of a node with two cores
    }
    (folder / "jobs.yaml").write_text(yaml.safe_dump(settings))
    return folder / "jobs.yaml"


def digests(lake: str) -> dict[str, str]:
    """What the recipe made, by asset and partition."""
    pointers = shards.join(lake, "current", "SMOKE")
    return {
        f"{asset}/{name}": json.loads(shards.get(shards.join(pointers, asset, name)))["digest"]
        for asset in shards.names(pointers)
        for name in shards.names(shards.join(pointers, asset))
    }


def check(lake: str, namespace: str, request: pytest.FixtureRequest) -> None:
    """All work was the cluster's, and came to what it comes to here."""
    smoke: Installation = request.getfixturevalue("smoke")  # made by another worker meanwhile
    jobs = KubernetesApi(namespace, patience_seconds=30).list("jobs")
    assert {job["metadata"]["labels"]["snow/asset"] for job in jobs} == WORK
    expected = digests(smoke.lake)
    found = digests(lake)
    assert found.keys() == expected.keys()
    # An evaluation tells how long programs ran, and how the sandbox was isolated.
    differing = {name for name in found if found[name] != expected[name]}
    assert differing == {name for name in found if name.startswith("benchmark_results/")}
    for name in shards.names(shards.join(lake, "current", "SMOKE", "benchmark_results")):
        url = shards.join(lake, "current", "SMOKE", "benchmark_results", name)
        fingerprint = json.loads(shards.get(url))["fingerprint"]
        folder = shards.join(lake, "benchmark_results", name.removesuffix(".json"), fingerprint)
        stats = shards.manifest(folder).stats
        assert stats["isolation"].startswith("seccomp+landlock+rlimits")
        assert stats["not_run"] is None


def test_smoke_in_a_cluster_with_a_shared_volume_comes_to_the_same(
    request: pytest.FixtureRequest, namespace: str, home: Path, tmp_path: Path
) -> None:
    lake = str(home / "lake")
    settings = put_settings(
        tmp_path,
        namespace,
        {"volumes": [{"name": "lake", "hostPath": {"path": lake}}]},
        {"volumeMounts": [{"name": "lake", "mountPath": lake}]},
    )
    run_demo(home, SNOW_JOBS=str(settings))
    check(lake, namespace, request)


def test_smoke_in_a_cluster_with_an_object_store_comes_to_the_same(
    request: pytest.FixtureRequest, namespace: str, home: Path, tmp_path: Path, s3_lake_url: str
) -> None:
    from kubernetes import client, config

    config.load_kube_config()
    keys = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n".format(
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    )
    secret = {"metadata": {"name": "object-store"}, "stringData": {"credentials": keys}}
    client.CoreV1Api().create_namespaced_secret(namespace, secret)
    port = os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1]
    environment = {
        "AWS_SHARED_CREDENTIALS_FILE": "/secrets/object-store/credentials",
        "AWS_ENDPOINT_URL": f"http://{os.environ['SNOW_TEST_HOST']}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    settings = put_settings(
        tmp_path,
        namespace,
        {"volumes": [{"name": "keys", "secret": {"secretName": "object-store"}}]},
        {
            "volumeMounts": [{"name": "keys", "mountPath": "/secrets/object-store"}],
            "env": [{"name": name, "value": told} for name, told in environment.items()],
        },
    )
    run_demo(home, SNOW_JOBS=str(settings), SNOW_LAKE=s3_lake_url)
    assert list((home / "lake").iterdir()) == []
    check(s3_lake_url, namespace, request)
