"""What an exchange promises: rows in order, empty partitions, shared values, errors by name."""

import errno
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from snow_assets.home import CHECKOUT
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.runtime.exchange.contract import JoinedPartitions
from snow_assets.runtime.exchange.in_process import InProcessExchange, _Spill
from snow_assets.runtime.exchange.partitions import (
    indices_in,
    range_of_indices,
    range_of_keys,
    ranges_of,
)
from snow_assets.runtime.exchange.shard_work import missing_shards
from snow_assets.storage import shards

ROW = pa.schema([("key", pa.uint64()), ("name", pa.string())])


def rows_of(shard: Sequence[tuple[int, str]], *, suffix: str = "") -> pa.Table:
    keys = pa.array([key for key, _ in shard], pa.uint64())
    return pa.table([keys, [name + suffix for _, name in shard]], schema=ROW)


def as_it_is(table: pa.Table) -> pa.Table:
    return table


def num_open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


SHARDS = [[(2**63, "a"), (1, "b")], [], [(2, "c"), (2**63, "d")]]


@pytest.mark.parametrize("num_partitions", [1, 2, 300])
def test_rows_of_a_partition_stand_in_the_order_of_the_shards(num_partitions: int) -> None:
    exchange = InProcessExchange()
    mapped = exchange.map_shards(rows_of, SHARDS, schema=ROW, suffix="!")
    partitions = exchange.by_key(mapped, ranges_of("key"), num_partitions=num_partitions)
    assert len(partitions) == num_partitions
    tables = list(exchange.gather(exchange.map_shards(as_it_is, partitions, schema=ROW)))
    names = [name for table in tables for name in table["name"].to_pylist()]
    assert names == (["a!", "b!", "c!", "d!"] if num_partitions == 1 else ["b!", "c!", "a!", "d!"])
    assert {table.schema for table in tables} == {ROW}


def test_an_exchange_of_no_shards_has_empty_partitions() -> None:
    exchange = InProcessExchange()
    partitions = exchange.by_key(
        exchange.map_shards(rows_of, [], schema=ROW), indices_in("key"), num_partitions=3
    )
    tables = list(exchange.gather(exchange.map_shards(as_it_is, partitions, schema=ROW)))
    assert [table.num_rows for table in tables] == [0, 0, 0]


def num_rows(table: pa.Table) -> int:
    return table.num_rows


def test_tables_are_kept_as_partitions_and_joined_in_order() -> None:
    exchange = InProcessExchange()
    kept = list(exchange.persist(exchange.map_shards(rows_of, SHARDS, schema=ROW), num_rows))
    assert [measured for _, measured in kept] == [2, 0, 2]
    first, empty, last = (partition for partition, _ in kept)
    joined = [JoinedPartitions([last, empty, first]), JoinedPartitions([empty]), last]
    tables = exchange.gather(exchange.map_shards(as_it_is, joined, schema=ROW))
    names = ["".join(table["name"].to_pylist()) for table in tables]
    assert names == ["cdab", "", "cd"]


def test_shards_behind_the_last_one_that_is_read_are_not_worked_on() -> None:
    def until_the_last(shard: Sequence[tuple[int, str]]) -> pa.Table:
        assert shard is not SHARDS[-1]
        return rows_of(shard)

    exchange = InProcessExchange()
    mapped = exchange.map_shards(until_the_last, SHARDS, schema=ROW)
    kept = exchange.persist(mapped, num_rows)
    assert [measured for _, measured in itertools.islice(kept, 2)] == [2, 0]


def test_inputs_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs of \[1, 2\] elements"):
        InProcessExchange().map_shards(rows_of, [1], [1, 2], schema=ROW)


def test_ranges_of_keys_are_in_order_and_cover_all_keys() -> None:
    keys = np.sort(np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64))
    keys[[0, -1]] = 0, 2**64 - 1
    partitions = range_of_keys(keys, 512)
    assert (np.diff(partitions.astype(int)) >= 0).all()
    assert set(partitions.tolist()) == set(range(512))


def test_temporary_files_do_not_grow_with_the_partitions_and_go_with_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = num_open_files()
    exchange = InProcessExchange()
    mapped = exchange.map_shards(rows_of, SHARDS, schema=ROW)
    partitions = exchange.by_key(mapped, ranges_of("key"), num_partitions=512)
    assert num_open_files() == before + 1
    del partitions
    assert num_open_files() == before
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named() -> None:
    with Path("/dev/full").open("r+b") as full:  # each write to it fails with ENOSPC
        spill = _Spill(1, ROW, _file=full)
        with pytest.raises(OSError, match=r"TMPDIR") as raised:
            spill.add(rows_of([(1, "a" * 100_000)]), ranges_of("key"))
            spill.flush()
        assert raised.value.errno == errno.ENOSPC


def test_without_an_address_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNOW_RAY_ADDRESS", raising=False)
    with open_exchange() as exchange:
        assert isinstance(exchange, InProcessExchange)


def test_without_ray_an_address_is_an_error_that_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("SNOW_RAY_ADDRESS", "local")
    with pytest.raises(ModuleNotFoundError, match=r"extra `engine`"), open_exchange():
        pass


FULL = """
import os, sys
import ray
from snow_assets.runtime.exchange.partitions import ranges_of
from snow_assets.runtime.exchange.ray_cluster import RayExchange
from tests.engine.conftest import started
from tests.engine.test_exchange import KEY, many_keys, sums
def start():
    ray.shutdown()
    ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False)
started(start)
exchange = RayExchange()
keys = exchange.map_shards(many_keys, range(40), schema=KEY)
partitions = exchange.by_key(keys, ranges_of("key"), num_partitions=4)
for table in exchange.gather(exchange.map_shards(sums, partitions, schema=KEY)):
    pass
"""
KEY = pa.schema([("key", pa.uint64())])


def many_keys(seed: int) -> pa.Table:
    keys = np.random.default_rng(seed).integers(0, 2**64, 1_000_000, dtype=np.uint64)
    return pa.table([pa.array(keys)], schema=KEY)


def sums(table: pa.Table) -> pa.Table:
    return pa.table([pa.array([table.num_rows], pa.uint64())], schema=KEY)


def run_with_full_disk(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script whose Ray takes a disk for full at 0.01 %."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "RAY_local_fs_capacity_threshold": "0.0001"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_without_scratch_space_is_an_error_that_says_so(ray_environment: Any) -> None:
    """320 MB of keys, and an object store of 100 MB."""
    done = run_with_full_disk(FULL)
    assert done.returncode != 0
    message = "OSError: [Errno 28] a node of the Ray cluster has no disk space left"
    assert message in done.stderr, done.stderr[-3_000:]


STALLED = """
import time
import ray
from snow_assets.runtime.exchange import ray_cluster
from tests.engine.conftest import started
ray_cluster._IDLE_SECONDS = 2.0
def start():
    ray.shutdown()
    ray.init(num_cpus=2, include_dashboard=False)
def sleep(seconds):
    time.sleep(seconds)
started(start)
ray_cluster._wait(ray.remote(num_cpus=1)(sleep).remote(10))
print("a running task was waited for")
ray_cluster._wait(ray.remote(resources={"of no node": 1})(sleep).remote(0))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_task_that_never_starts_beside_a_full_disk_is_an_error_that_names_the_folder(
    ray_environment: Any,
) -> None:
    done = run_with_full_disk(STALLED)
    assert done.returncode != 0
    assert "a running task was waited for" in done.stdout, done.stderr[-3_000:]
    error = "OSError: [Errno 28] a node of the Ray cluster has no disk space left"
    assert re.search(rf"{re.escape(error)} .*: '/.*/session_", done.stderr), done.stderr[-3_000:]


@pytest.mark.parametrize(("num_indices", "num_partitions"), [(0, 3), (5, 1), (5, 3), (3, 5)])
def test_ranges_of_indices_are_in_order_and_of_equal_length(
    num_indices: int, num_partitions: int
) -> None:
    indices = np.arange(num_indices)
    partitions = range_of_indices(indices, num_partitions, num_indices)
    assert np.array_equal(partitions, np.sort(partitions))
    lengths = np.bincount(partitions, minlength=num_partitions)
    assert len(lengths) == num_partitions
    assert lengths.max() - lengths.min() <= 1
    assert all(lengths) == (num_indices >= num_partitions)


def test_only_shards_without_a_record_are_missing(lake_url: str) -> None:
    for index in (0, 3):
        shards.put_table(lake_url, "rows", index, ROW.empty_table(), ROW)
    assert missing_shards(lake_url, "rows", range(4)) == [1, 2]
    assert missing_shards(lake_url, "rows", [3, 5]) == [5]
    assert missing_shards(lake_url, "others", range(2)) == [0, 1]
