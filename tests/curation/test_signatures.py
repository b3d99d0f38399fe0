import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.curation.document_shards import DocumentShard
from snow_assets.defs import dedup
from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DOCUMENT
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.artifacts import finish, point
from tests.curation.builders import (
    RECIPE,
    a_file,
    a_program,
    documents,
    near_duplicates,
    raw_corpus,
    signatures,
)
from tests.curation.test_assets import STDLIB, of_sources
from tests.stage_assets import asset_of

BASE = a_program("base", functions=40)
SOURCES = {
    "amber": [
        a_file("z/base.py", BASE.replace("return", "yield", 3), repository="two", source="amber"),
        a_file("z/other.py", a_program("other"), repository="two", source="amber"),
    ],
    "birch": [
        a_file("m/base.py", BASE, repository="two", source="birch"),
        a_file("m/copy.py", BASE, repository="two", source="birch"),
    ],
    # The last to come connects what was apart, and is the smallest.
    "cedar": [
        a_file("a/base.py", BASE.replace("return", "yield", 1), repository="one", source="cedar"),
        a_file("a/other.py", a_program("other"), repository="one", source="cedar"),
    ],
}


def made_of(lake: str, names: list[str]) -> list[str]:
    return [
        documents(lake, raw_corpus(lake, SOURCES[name], source=name, per_shard=1))
        if not shards.exists(f"{lake}/documents/{name}")
        else f"{lake}/documents/{name}/{'0' * 32}"
        for name in names
    ]


def rows(folder: str) -> tuple[list[Any], list[Any]]:
    """Pairs, and clusters by document: what no order of arrival may change."""
    clusters = shards.read(folder, "clusters").to_pylist()
    (verified,) = shards.input_folders(folder, "verified_pairs")
    return (
        shards.read(verified, "pairs").to_pylist(),
        sorted(clusters, key=lambda row: str(row["document_id"])),
    )


def test_a_new_source_reads_its_own_text_only_and_gives_what_a_full_run_gives(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made_of(lake_url, ["amber", "birch"])
    near_duplicates(lake_url, old, name="1" * 32)
    everything = [*old, *made_of(lake_url, ["cedar"])]
    opened = []
    read = DocumentShard.read

    def seen(shard: DocumentShard, columns: Any = None) -> Any:
        if columns is None or "text" in columns:
            opened.append(shard.key)
        return read(shard, columns)

    monkeypatch.setattr(DocumentShard, "read", seen)
    grown = near_duplicates(lake_url, everything, name="2" * 32)
    assert opened
    assert all(key.startswith("cedar/") for key in opened)
    fresh = f"{lake_url}/fresh"
    full = near_duplicates(fresh, made_of(fresh, list(SOURCES)), name="2" * 32)
    assert shards.manifest(grown).digest == shards.manifest(full).digest
    (pairs,) = shards.input_folders(full, "verified_pairs")
    assert shards.manifest(pairs).stats["verified_pairs"] == 3


def test_the_order_of_arrival_changes_nothing(lake_url: str) -> None:
    made = made_of(lake_url, list(SOURCES))
    expected = rows(near_duplicates(lake_url, made, name="1" * 32))
    assert rows(near_duplicates(lake_url, made[::-1], name="2" * 32)) == expected
    assert {row["kind"] for row in expected[1]} == {None, "near", "exact"}


def test_a_text_is_signed_once_in_a_source_and_empty_shards_are_shards(lake_url: str) -> None:
    copies = [a_file(f"{n}.py", BASE) for n in range(4)]
    folder = documents(lake_url, raw_corpus(lake_url, copies, per_shard=2))
    again = f"{lake_url}/documents/empty/{'0' * 32}"
    none = shards.read(folder, "documents").slice(0, 0)
    shards.put_table(again, "documents", 0, none, DOCUMENT, stats={"language": "python"})
    finish(again)
    signed = signatures(lake_url, folder)
    assert [entry.num_rows for entry in shards.manifest(signed).tables("signatures")] == [1, 0]
    found = shards.manifest(near_duplicates(lake_url, [folder, again]))
    assert (found.stats["canonical"], found.stats["exact_duplicates"]) == (1, 3)
    assert [entry.num_rows for entry in found.tables("clusters")] == [2, 2, 0]


KILLED = """
import os, signal, sys
from snow_assets.storage import shards
from tests.curation.builders import near_duplicates, signatures
lake, after, *made = sys.argv[1:]
put, calls = shards.put_file, []
def counted(*given, **known):
    calls.append(given)
    if len(calls) > int(after):
        os.kill(os.getpid(), signal.SIGKILL)
    return put(*given, **known)
shards.put_file = counted
near_duplicates(lake, made)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 8, 12])  # files that are there: 6 signatures, 8 of the rest
def test_a_kill_in_the_middle_leaves_nothing_that_the_next_run_does_not_finish(
    tmp_path: Path, after: int
) -> None:
    made = made_of(str(tmp_path / "killed"), list(SOURCES))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(after), *made]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = shards.manifest(near_duplicates(str(tmp_path / "killed"), made))
    whole = near_duplicates(str(tmp_path / "whole"), made_of(str(tmp_path / "whole"), [*SOURCES]))
    assert found.digest == shards.manifest(whole).digest


LIMITED = """
import resource, sys
import numpy as np
import pyarrow as pa
from snow_assets.curation.dedup import candidates
from snow_assets.runtime.exchange.in_process import InProcessExchange
class Shard:
    def __init__(self, start):
        self.start = start
    def read(self, columns):
        bands = np.random.default_rng(self.start).integers(0, 2**64, (10_000, 42), dtype=np.uint64)
        if self.start:
            bands[0, 0] = 7  # a bucket
        ids = [f"{number:016x}{0:048x}" for number in range(self.start, self.start + 10_000)]
        flat = pa.py_buffer(np.ascontiguousarray(bands))
        column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(336), 10_000, [None, flat])
        counts = pa.array(np.ones(10_000, dtype=np.int64))
        return pa.table({"text_id": ids, "num_shingles": counts, "bands": column})
def num_pairs(starts, partition_bytes):
    exchange = InProcessExchange(partition_bytes=partition_bytes)
    partitions = candidates.candidate_pairs(
        [Shard(start) for start in starts],
        np.zeros(0, dtype=np.uint64),
        num_bands=42 * 10_000 * len(starts),
        num_shards=1,
        exchange=exchange,
    )
    count = candidates.sorted_distinct(*map(as_table, partitions)).num_rows
    return count
def as_table(partition):
    return partition.spill.read(partition.index)
num_pairs([0, 10_000], 10**9)  # compiled and loaded before the limit
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + 150_000_000,) * 2)
print(num_pairs(range(0, 400_000, 10_000), int(sys.argv[1])))
"""


@pytest.mark.slow
def test_bands_of_269_megabytes_are_sorted_under_a_limit_of_150(tmp_path: Path) -> None:
    def run(part_bytes: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", LIMITED, str(part_bytes)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )

    spilled = run(8_000_000)
    assert spilled.returncode == 0, spilled.stderr
    assert int(spilled.stdout) == 39 * 38 // 2
    assert "MemoryError" in run(2**40).stderr  # a single part does not fit


def test_only_what_is_hashed_moves_the_signatures(lake_url: str) -> None:
    files = [a_file("a.py", BASE, source=STDLIB)]
    point(lake_url, documents(lake_url, raw_corpus(lake_url, files, source=STDLIB)))
    instance = dg.DagsterInstance.ephemeral()

    def is_reused(recipe: Recipe) -> bool:
        resources = {"lake": Lake(url=lake_url), "tracking": Tracking(uri=""), "recipe": recipe}
        done = dg.materialize(
            [asset_of(dedup.signatures)],
            instance=instance,
            resources=resources,
            partition_key=STDLIB,
        )
        (event,) = done.get_asset_materialization_events()
        return bool(event.materialization.metadata["reused"].value)

    def changed(**curation: Any) -> Recipe:
        recipe = of_sources(STDLIB)
        return replace(recipe, curation=replace(recipe.curation, **curation))

    near = RECIPE.near_duplicates
    assert not is_reused(changed())
    assert is_reused(changed(filters=replace(RECIPE.filters, max_lines=1)))
    assert is_reused(changed(near_duplicates=replace(near, min_jaccard=0.8)))
    assert not is_reused(changed(near_duplicates=replace(near, bands=21)))
