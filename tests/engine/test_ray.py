"""Near-duplicate search in this process and on a Ray cluster: equal digests, also under faults."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.curation.dedup import candidates, verification
from snow_assets.home import CHECKOUT
from snow_assets.runtime.exchange.contract import MAX_PARTITIONS, Exchange
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.runtime.exchange.partitions import ranges_of
from snow_assets.runtime.exchange.ray_cluster import RayExchange
from snow_assets.storage import shards
from tests.artifacts import point
from tests.curation.builders import near_duplicates
from tests.engine.conftest import NODE, started
from tests.engine.corpus import put_documents
from tests.engine.faults import KillingExchange
from tests.engine.test_exchange import KEY, as_it_is, many_keys, sums

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_DOCUMENTS = 40_000
PARTITION_BYTES = 2_000_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def folders(lake: str) -> list[str]:
    return put_documents(lake, NUM_DOCUMENTS, num_shards=20)


def digests(lake: str, folders: list[str], name: str, exchange: Exchange) -> dict[str, str]:
    """The digests of what the search leaves, by asset."""
    clusters = near_duplicates(lake, folders, name=name * 32, exchange=exchange)
    (verified,) = shards.input_folders(clusters, "verified_pairs")
    (candidates,) = shards.input_folders(verified, "candidate_pairs")
    manifests = [shards.manifest(folder) for folder in (candidates, verified, clusters)]
    return {manifest.asset: manifest.digest for manifest in manifests}


@pytest.fixture(scope="module")
def expected(lake: str, folders: list[str]) -> dict[str, str]:
    """In this process, with a partition for everything."""
    return digests(lake, folders, "0", InProcessExchange(partition_bytes=2**40))


def test_the_corpus_has_duplicates_of_every_kind(lake: str, expected: dict[str, str]) -> None:
    stats = shards.manifest(f"{lake}/near_duplicates/all/{'0' * 32}").stats
    assert stats["documents"] > 0.85 * NUM_DOCUMENTS
    assert min(stats["exact_duplicates"], stats["near_duplicates"]) > 0.1 * NUM_DOCUMENTS
    pairs = shards.manifest(f"{lake}/verified_pairs/all/{'0' * 32}").stats["verified_pairs"]
    assert pairs > stats["near_duplicates"]


def test_many_partitions_in_this_process_change_nothing(
    lake: str, folders: list[str], expected: dict[str, str]
) -> None:
    exchange = InProcessExchange(partition_bytes=PARTITION_BYTES)
    assert exchange.num_partitions(NUM_DOCUMENTS * 16 * 42) > 10
    assert digests(lake, folders, "1", exchange) == expected


def test_forty_thousand_documents_on_two_nodes_give_equal_digests(
    lake: str, folders: list[str], expected: dict[str, str], connected: Any
) -> None:
    exchange = RayExchange(partition_bytes=PARTITION_BYTES)
    assert digests(lake, folders, "2", exchange) == expected


def own_bytes() -> int:
    """The memory of this process that it shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size) for name, size, *_ in map(str.split, lines)}
    return sizes["Pss_Anon:"] * 1_024


def test_rows_that_are_exchanged_in_small_objects_stay_out_of_the_drivers_memory(
    connected: Any,
) -> None:
    """96 MB of keys in objects of 80 KB, which Ray by itself returns to the driver."""
    exchange, num_shards = RayExchange(), 12
    before = own_bytes()
    partitions = exchange.by_key(
        exchange.map_shards(many_keys, range(num_shards), schema=KEY),
        ranges_of("key"),
        num_partitions=100,
    )
    tables = list(exchange.gather(exchange.map_shards(sums, partitions, schema=KEY)))
    assert sum(table["key"][0].as_py() for table in tables) == num_shards * 1_000_000
    assert own_bytes() - before < 60_000_000


TASK = pa.schema([("key", pa.uint64()), ("task", pa.string())])


def current_task(_: object) -> pa.Table:
    import ray

    task_id = ray.get_runtime_context().get_task_id()
    return pa.table([pa.array([0], pa.uint64()), [task_id]], schema=TASK)


def test_a_task_gets_several_shards_but_a_single_partition(connected: Any) -> None:
    """A node fetches all rows of a task before it starts it."""
    exchange = RayExchange()
    partitions = exchange.by_key(
        exchange.map_shards(many_keys, range(2), schema=KEY), ranges_of("key"), num_partitions=40
    )
    for inputs, num_tasks in ((range(40), 8), (partitions, 40)):
        (tasks,) = exchange.by_key(
            exchange.map_shards(current_task, inputs, schema=TASK),
            ranges_of("key"),
            num_partitions=1,
        )
        (table,) = exchange.gather(exchange.map_shards(as_it_is, [tasks], schema=TASK))
        assert len(set(table["task"].to_pylist())) == num_tasks


def test_pairs_are_written_into_no_more_shards_than_partitions_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_TEXTS_PER_SHARD", 1)
    monkeypatch.setattr(verification, "_CANDIDATES_PER_SHARD", 1)
    lake = str(tmp_path)
    clusters = near_duplicates(lake, put_documents(lake, 4_000, num_shards=6))
    (verified,) = shards.input_folders(clusters, "verified_pairs")
    (pairs,) = shards.input_folders(verified, "candidate_pairs")
    for folder, table in ((pairs, "candidate_pairs"), (verified, "pairs")):
        assert len(shards.manifest(folder).tables(table)) == MAX_PARTITIONS


def test_killed_workers_and_a_lost_node_change_nothing(
    lake: str, folders: list[str], expected: dict[str, str], connected: Any, tmp_path: Path
) -> None:
    """A worker on each side of a shuffle, and a node with rows that are not read yet."""
    import ray

    names = ("_pairs_in", "_requested_shingles", "_outcomes")
    killing = KillingExchange(partition_bytes=PARTITION_BYTES, names=names, folder=tmp_path)
    assert digests(lake, folders, "3", killing) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)

    (node,) = connected.worker_nodes
    (lost_folder := tmp_path / "lost").mkdir()
    lost = KillingExchange(
        partition_bytes=PARTITION_BYTES,
        # The first of these that runs on the node: with few partitions some run on the other only.
        names=["_requested_shingles", "_verified_pairs", "_outcomes"],
        folder=lost_folder,
        node=node.node_id,
    )
    assert digests(lake, folders, "4", lost) == expected
    assert len(list(lost_folder.iterdir())) == 1
    assert sum(entry["Alive"] for entry in ray.nodes()) == 1
    connected.remove_node(node, allow_graceful=False)
    started(lambda: connected.add_node(**NODE))


DRIVER = """
import os, signal, sys
import dagster as dg
from snow_assets.defs import dedup
from snow_assets.runtime.exchange.partitions import ranges_of
from snow_assets.runtime.exchange.ray_cluster import RayExchange
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.curation.test_assets import of_sources
from tests.stage_assets import asset_of
by_key, calls = RayExchange.by_key, []
def counted(*arguments, **options):
    calls.append(arguments)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return by_key(*arguments, **options)
RayExchange.by_key = counted
recipe = of_sources("amber", "birch")
resources = {"lake": Lake(url=sys.argv[1]), "tracking": Tracking(uri=""), "recipe": recipe}
for stage in (dedup.candidate_pairs, dedup.verified_pairs, dedup.near_duplicates):
    done = dg.materialize([asset_of(stage, recipe)], resources=resources)
    (event,) = done.get_asset_materialization_events()
    reused = event.materialization.metadata["reused"].value
    print(stage.name, reused, event.materialization.tags["dagster/data_version"])
"""


def test_a_run_whose_driver_was_killed_is_repeated_from_the_stage_that_it_was_in(
    connected: Any, tmp_path: Path
) -> None:
    lake = str(tmp_path / "lake")
    folders = put_documents(lake, 2_000, num_shards=6)
    expected = digests(lake, folders, "0", InProcessExchange())
    for folder in folders:
        point(lake, folder)
        point(lake, folder.replace("documents", "signatures"))

    def drive(address: str, kill_at: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", DRIVER, lake, str(kill_at)],
            env={**os.environ, "SNOW_RAY_ADDRESS": address},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )

    # The fifth exchange: shingles, which verified_pairs asks for.
    killed = drive("local", 5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [line.split()[0] for line in killed.stdout.splitlines()] == ["candidate_pairs"]
    repeated = drive(connected.address, 0)
    assert repeated.returncode == 0, repeated.stderr
    assert [line.split() for line in repeated.stdout.splitlines()] == [
        ["candidate_pairs", "True", expected["candidate_pairs"]],
        ["verified_pairs", "False", expected["verified_pairs"]],
        ["near_duplicates", "False", expected["near_duplicates"]],
    ]
