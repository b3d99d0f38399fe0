"""A source read by two nodes: the bytes of one process, also when workers are killed."""

from pathlib import Path
from typing import Any

import pytest

from snow_assets.corpus import unit_groups
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.runtime.exchange.ray_cluster import RayExchange
from tests.corpus.test_unit_groups import SOURCES, ingest, tables
from tests.engine.faults import KillingExchange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def a_group_per_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_groups, "GROUP_BYTES", 1)


@pytest.mark.parametrize("name", SOURCES)
def test_two_nodes_write_the_bytes_of_one_process(
    name: str, connected: Any, tmp_path: Path
) -> None:
    source = SOURCES[name](tmp_path / "code")
    expected = ingest(tmp_path / "here", source, InProcessExchange())
    divided = ingest(tmp_path / "nodes", source, RayExchange(partition_bytes=1_000))
    assert divided.digest == expected.digest
    assert divided.stats == expected.stats


def test_killed_workers_change_no_byte(connected: Any, tmp_path: Path) -> None:
    source = tables(tmp_path / "code")
    expected = ingest(tmp_path / "here", source, InProcessExchange())
    functions = ("_ingest_group", "_document_positions", "_later_rows", "_move_from_shards")
    exchange = KillingExchange(names=functions, folder=tmp_path, partition_bytes=1_000)
    assert ingest(tmp_path / "nodes", source, exchange).digest == expected.digest
    assert all((tmp_path / name).exists() for name in functions), "no worker was killed"
