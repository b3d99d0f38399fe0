"""Full scratch disks while rows are exchanged: an error that says so, then a resumed run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from snow_assets.home import CHECKOUT
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.storage import shards
from tests.artifacts import point
from tests.curation.builders import near_duplicates
from tests.engine.conftest import started
from tests.engine.corpus import put_documents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_DOCUMENTS = 40_000
ASSETS = ("candidate_pairs", "verified_pairs", "near_duplicates")
DISK_BYTES = 120_000_000
STORE_BYTES = 80_000_000  # little more than Ray's least
OTHER_ROWS_BYTES = 70_000_000  # in the store, of another exchange

DRIVER = """
import sys
from contextlib import ExitStack
import dagster as dg
import numpy as np
from snow_assets.defs import dedup
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.curation.test_assets import of_sources
from tests.stage_assets import asset_of
lake, other_rows_bytes, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
recipe = of_sources("amber", "birch")
resources = {"lake": Lake(url=lake), "tracking": Tracking(uri=""), "recipe": recipe}
with open_exchange():
    if other_rows_bytes:
        import ray
        other_rows = ray.put(np.random.default_rng(0).bytes(other_rows_bytes))
    for name in names:
        done = dg.materialize([asset_of(getattr(dedup, name), recipe)], resources=resources)
        (event,) = done.get_asset_materialization_events()
        reused = event.materialization.metadata["reused"].value
        print(name, reused, event.materialization.tags["dagster/data_version"])
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """A lake with documents and signatures, and the digests of a search in this process."""
    lake = str(tmp_path_factory.mktemp("lake"))
    folders = put_documents(lake, NUM_DOCUMENTS, num_shards=20)
    near_duplicates(lake, folders, exchange=InProcessExchange())
    digests = {name: shards.manifest(f"{lake}/{name}/all/{'0' * 32}").digest for name in ASSETS}
    for name in ASSETS:
        shutil.rmtree(f"{lake}/{name}")
    for folder in folders:
        point(lake, folder)
        point(lake, folder.replace("documents", "signatures"))
    return lake, digests


def drive(
    lake: str, names: Sequence[str], environment: Mapping[str, str], *, other_rows_bytes: int = 0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DRIVER, lake, str(other_rows_bytes), *names],
        env={**os.environ, **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def fill(disk: Path) -> Path:
    """A file that leaves a megabyte of the disk."""
    path = disk / "others"
    path.write_bytes(b"\0" * (shutil.disk_usage(disk).free - 1_000_000))
    return path


def finished(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """Of each finished asset its name, whether it was reused, and its digest; Ray prints, too."""
    lines = [line.split() for line in done.stdout.splitlines()]
    return [words for words in lines if words[:1] and words[0] in ASSETS]


def assert_resumed(done: subprocess.CompletedProcess[str], expected: dict[str, str]) -> None:
    assert done.returncode == 0, done.stderr
    assert finished(done) == [
        [name, str(name == "candidate_pairs"), expected[name]] for name in ASSETS
    ]


def test_a_run_whose_temporary_disk_was_full_goes_on_after_there_is_space(
    searched: tuple[str, dict[str, str]], disk: Path, tmp_path: Path
) -> None:
    lake, expected = str(shutil.copytree(searched[0], tmp_path / "lake")), searched[1]
    environment = {"TMPDIR": str(disk), "SNOW_RAY_ADDRESS": ""}
    done = drive(lake, ASSETS[:1], environment)
    assert done.returncode == 0, done.stderr
    others = fill(disk)
    full = drive(lake, ASSETS, environment)
    assert full.returncode != 0
    assert f"the disk of {disk}, where rows are sorted by key, is full" in full.stderr
    assert [name for name, *_ in finished(full)] == ["candidate_pairs"]
    others.unlink()
    assert_resumed(drive(lake, ASSETS, environment), expected)


def test_a_run_whose_node_had_a_full_disk_goes_on_after_there_is_space(
    searched: tuple[str, dict[str, str]], ray_environment: None, disk: Path, tmp_path: Path
) -> None:
    """Rows of another exchange occupy the node's object store, so that it spills to its disk."""
    from ray import cluster_utils

    lake, expected = str(shutil.copytree(searched[0], tmp_path / "lake")), searched[1]
    node: dict[str, Any] = {
        "num_cpus": 2,
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
        "object_spilling_directory": str(disk),
    }
    cluster = started(lambda: cluster_utils.Cluster(initialize_head=True, head_node_args=node))
    try:
        environment = {"SNOW_RAY_ADDRESS": cluster.address}
        done = drive(lake, ASSETS[:1], environment)
        assert done.returncode == 0, done.stderr
        others = fill(disk)
        full = drive(lake, ASSETS, environment, other_rows_bytes=OTHER_ROWS_BYTES)
        assert full.returncode != 0
        message = "a node of the Ray cluster has no disk space left"
        assert message in full.stderr, full.stderr[-3_000:]
        assert [name for name, *_ in finished(full)] == ["candidate_pairs"]
        others.unlink()
        resumed = drive(lake, ASSETS, environment, other_rows_bytes=OTHER_ROWS_BYTES)
        assert_resumed(resumed, expected)
    finally:
        cluster.shutdown()
