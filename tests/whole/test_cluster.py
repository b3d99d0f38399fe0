"""The whole recipe on an object store, by processes of this machine and by Jobs of a cluster, and
by Jobs on a shared volume: each comes to the same."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from snow_assets.home import CHECKOUT
from snow_assets.storage import shards
from snow_assets.tables.assets import PROJECT, tables
from snow_resources.kubernetes_api import KubernetesApi
from snow_resources.lake import Lake
from snow_resources.publishing import Warehouse
from snow_resources.table_versions import fetch_current, folder_of
from snow_resources.tracking import Tracking
from snow_resources.warehouse import query
from tests.recipes import MINIMAL
from tests.s3 import new_lake_url
from tests.whole.conftest import Installation, run_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

RECIPE = "tests.recipes:MINIMAL"
WORK = {
    "teacher_model",
    "quality_annotator",
    "quality_scores",
    "general_checkpoint",
    "synthetic_completions",
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
    pointers = shards.join(lake, "current", MINIMAL.name)
    return {
        f"{asset}/{name}": json.loads(shards.get(shards.join(pointers, asset, name)))["digest"]
        for asset in shards.names(pointers)
        for name in shards.names(shards.join(pointers, asset))
    }


def check(lake: str, namespace: str, expected_lake: str) -> None:
    """All work was the cluster's, and came to what it comes to here."""
    jobs = KubernetesApi(namespace, patience_seconds=30).list("jobs")
    assert {job["metadata"]["labels"]["snow/asset"] for job in jobs} == WORK
    expected = digests(expected_lake)
    found = digests(lake)
    assert found.keys() == expected.keys()
    # An evaluation tells how long programs ran, and how the sandbox was isolated.
    differing = {name for name in found if found[name] != expected[name]}
    assert differing == {name for name in found if name.startswith("benchmark_results/")}
    for name in shards.names(shards.join(lake, "current", MINIMAL.name, "benchmark_results")):
        url = shards.join(lake, "current", MINIMAL.name, "benchmark_results", name)
        fingerprint = json.loads(shards.get(url))["fingerprint"]
        folder = shards.join(lake, "benchmark_results", name.removesuffix(".json"), fingerprint)
        stats = shards.manifest(folder).stats
        assert stats["isolation"].startswith("seccomp+landlock+rlimits")
        assert stats["not_run"] is None


@dataclass(frozen=True)
class Remote:
    """An installation, and its lake on an S3 server."""

    installation: Installation
    lake: str


@pytest.fixture(scope="module")
def remote(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Remote:
    """The recipe worked by processes of this machine, its lake on an S3 server."""
    lake = new_lake_url()
    home = tmp_path_factory.mktemp("remote") / "home"
    return Remote(run_demo(home, SNOW_LAKE=lake, SNOW_RECIPE=RECIPE), lake)


def test_the_whole_recipe_runs_on_an_object_store(remote: Remote) -> None:
    assert not (remote.installation.home / "lake").exists()
    pointers = shards.names(shards.join(remote.lake, "current", MINIMAL.name))
    assert {"raw_code_corpus", "quality_scores", "synthetic_set", "enhanced_checkpoint"} <= set(
        pointers
    )


def test_tables_lie_beside_a_lake_in_an_object_store_and_are_put_again_where_they_are_lost(
    remote: Remote, tmp_path: Path
) -> None:
    sql = "select checkpoint, count(*) from checkpoint_scoreboard group by 1 order by 1"
    published = str(remote.installation.warehouse)
    expected = query(published, sql).rows
    assert len(expected) == 3
    shared = folder_of(remote.lake, MINIMAL.name)
    assert query(fetch_current(shared, tmp_path / "fetched"), sql).rows == expected
    shards.remove(shared)
    before = Path(published).stat().st_ino
    assert dg.materialize(
        [tables],
        resources={
            "lake": Lake(url=remote.lake),
            "tracking": Tracking(uri=""),
            "recipe": MINIMAL,
            "warehouse": Warehouse(path=published, project=PROJECT),
        },
    ).success
    assert Path(published).stat().st_ino == before  # what is up to date here is not built again
    assert query(fetch_current(shared, tmp_path / "fetched-again"), sql).rows == expected


@pytest.mark.cluster
def test_jobs_on_a_shared_volume_come_to_the_same(
    remote: Remote, namespace: str, home: Path, tmp_path: Path
) -> None:
    lake = str(home / "lake")
    settings = put_settings(
        tmp_path,
        namespace,
        {"volumes": [{"name": "lake", "hostPath": {"path": lake}}]},
        {"volumeMounts": [{"name": "lake", "mountPath": lake}]},
    )
    run_demo(home, SNOW_JOBS=str(settings), SNOW_RECIPE=RECIPE)
    check(lake, namespace, remote.lake)


@pytest.mark.cluster
def test_jobs_on_an_object_store_come_to_the_same(
    remote: Remote, namespace: str, home: Path, tmp_path: Path, s3_lake_url: str
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
    run_demo(home, SNOW_JOBS=str(settings), SNOW_LAKE=s3_lake_url, SNOW_RECIPE=RECIPE)
    assert list((home / "lake").iterdir()) == []
    check(s3_lake_url, namespace, remote.lake)
