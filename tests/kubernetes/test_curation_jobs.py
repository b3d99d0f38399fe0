"""Stages of curation in Jobs of Ray nodes, through their assets."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.home import CHECKOUT
from snow_assets.storage import shards
from tests.artifacts import point
from tests.curation.builders import a_file, raw_corpus
from tests.kubernetes.conftest import Site
from tests.kubernetes.engine_definitions import IN_PROCESS, SOURCE, assets, resources

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1_800)]

NUM_FILES, FILES_PER_SHARD = 400, 20


def put_standard_library(lake: str) -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.parts)[
        :NUM_FILES
    ]
    files = [
        a_file(
            str(path.relative_to(folder)),
            path.read_bytes(),
            repository=path.relative_to(folder).parts[0],
            source=SOURCE,
        )
        for path in paths
    ]
    point(lake, raw_corpus(lake, files, source=SOURCE, per_shard=FILES_PER_SHARD))


def run_worker(
    site: Site, home: Path, asset: str, *, partition: str = ""
) -> subprocess.Popen[bytes]:
    """A run that materializes the asset."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    settings = json.dumps({"config": site.config(start_seconds=180), "lake": str(site.lake)})
    module = "tests.kubernetes.engine_definitions"
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", module]
    return subprocess.Popen(
        [*command, "--select", asset, *(["--partition", partition] if partition else [])],
        cwd=CHECKOUT,
        env={**os.environ, "SITE": settings, "DAGSTER_HOME": str(home)},
        stdout=(home / "log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def materialize(site: Site, home: Path, asset: str, *, partition: str = "") -> None:
    run = run_worker(site, home, asset, partition=partition)
    assert run.wait(600) == 0, (home / "log").read_text()[-4_000:]


def materialize_here(site: Site, lake: Path, asset: str, *, partition: str | None = None) -> None:
    dg.materialize(
        assets(IN_PROCESS),
        selection=[asset],
        resources=resources(IN_PROCESS, str(lake)),
        instance=site.instance,
        partition_key=partition,
    )


def finished_shards(site: Site) -> dict[str, int]:
    """The raw shards that are converted, and when; the table `drops` is written last of each."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in site.lake.glob(f"documents/*/*/{shards.RECORDS}/drops-*.json")
    }


def digest(lake: Path, asset: str) -> str:
    (manifest,) = lake.glob(f"{asset}/*/*/{shards.MANIFEST}")
    return shards.manifest(str(manifest.parent)).digest


def test_a_source_is_curated_in_pods_after_a_cancel_by_what_was_left_to_do(
    site: Site, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    put_standard_library(str(site.lake))
    cancelled = run_worker(site, home, "documents", partition=SOURCE)
    site.wait_for(lambda: finished_shards(site), seconds=900)
    assert len(site.running_pods()) == 2
    cancelled.send_signal(signal.SIGINT)
    assert cancelled.wait(180) != 0
    assert site.api.list("jobs") == []
    finished = finished_shards(site)
    materialize(site, home, "documents", partition=SOURCE)
    assert 0 < len(finished) < len(finished_shards(site))
    assert finished.items() <= finished_shards(site).items()

    here = tmp_path / "in_process"
    put_standard_library(str(here))
    materialize_here(site, here, "documents", partition=SOURCE)
    for lake in (site.lake, here):  # the size of the work is no part of an address
        materialize_here(site, lake, "signatures", partition=SOURCE)
    materialize(site, home, "candidate_pairs")
    materialize_here(site, here, "candidate_pairs")
    for asset in ("documents", "signatures", "candidate_pairs"):
        assert digest(site.lake, asset) == digest(here, asset)
