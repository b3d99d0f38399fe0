"""A source in several groups of units: the same files, drops and counts as in one."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from snow_assets.corpus import ingest as ingest_module
from snow_assets.corpus import same_documents, unit_groups
from snow_assets.corpus.raw_shards import DROPS, FILES
from snow_assets.corpus.source_rows import Gate
from snow_assets.corpus.source_units import Unit
from snow_assets.recipe import Source
from snow_assets.runtime.exchange.contract import Exchange, ShardMap
from snow_assets.runtime.exchange.in_process import IN_PROCESS, InProcessExchange
from snow_assets.storage import integrity, shards
from tests.corpus.builders import MIT, OPEN_GATE, a_recipe, a_source, a_tar
from tests.corpus.test_ingest import finish, many

LANGUAGES = ("python", "c")
NUM_TABLES, TABLE_FILES = 6, 40


def ingest(folder: Path | str, source: Source, exchange: Exchange = IN_PROCESS) -> Any:
    gate = Gate(opted_out=frozenset({"owner/left"}), exemplars=OPEN_GATE.exemplars)
    recipe = a_recipe(source)
    stats = ingest_module.ingest(
        str(folder), source, recipe=recipe, languages=LANGUAGES, gate=gate, exchange=exchange
    )
    return finish(folder, stats)


def a_row(repository: str, path: str, content: str, license_: str = "MIT") -> str:
    row = {"repo_name": repository, "path": path, "content": content, "license": license_}
    return json.dumps(row) + "\n"


def tables(folder: Path) -> Source:
    """Table files of which each begins with its predecessor's last repository, and holds files of
    earlier ones, one of them twice; two are of a repository that opted out."""
    folder.mkdir(parents=True)
    for table in range(NUM_TABLES):
        rows = [
            a_row(f"owner/r{table + number // 20}", f"{number}.py", f"x = {table}\n" * 90)
            for number in range(TABLE_FILES)
        ]
        rows.append(a_row("owner/gpl", "a.py", f"y = {table}\n", "GPL-3.0-only"))
        rows += [a_row("owner/same", f"{number}.py", "z = 1\n" * 90) for number in range(20)]
        rows.append(a_row("owner/same", "0.py", "z = 1\n" * 90))
        rows.append(a_row("owner/left", "a.py", "z = 1\n"))
        (folder / f"{table}.jsonl").write_text("".join(rows))
    return a_source(folder, kind="rows")


def archives(folder: Path) -> Source:
    """Archives of which two are of one release."""
    for name in ("a-1.0.tar.gz", "b-1.0.tar.gz", "b-1.0.tgz", "c-1.0.tar.gz"):
        stem = name.split("-")[0]
        lines = [hashlib.sha256(f"{stem}{line}".encode()).hexdigest() for line in range(20)]
        members = [
            (f"{stem}/{number}.py", "".join(f"# {number} {line}\n" for line in lines).encode())
            for number in range(30)
        ]
        a_tar(folder / name, [*members, (f"{stem}/LICENSE", MIT.encode())])
    return a_source(folder, kind="archives")


def folders(folder: Path) -> Source:
    return many(folder, repositories=9, files=7, file_bytes=1_500)


SOURCES = {"tables": tables, "archives": archives, "folders": folders}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return SOURCES[request.param](tmp_path / "code")


def divide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each unit be a group."""
    monkeypatch.setattr(unit_groups, "GROUP_BYTES", 1)


def contents(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Files in their order, and drops, those of a shard in any order."""
    files, drops = (shards.read(str(folder), name).to_pylist() for name in (FILES, DROPS))
    return files, sorted(drops, key=str)


def test_groups_hold_the_same_files_in_the_same_order_and_the_same_drops_and_counts(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ingest(tmp_path / "whole", source)
    divide(monkeypatch)
    divided = ingest(tmp_path / "divided", source)
    indices = [shards.shard_index(entry.name) for entry in divided.tables(FILES)]
    assert len({index // 1_000_000 for index in indices}) >= 4
    assert contents(tmp_path / "divided") == contents(tmp_path / "whole")
    assert divided.stats == whole.stats
    assert whole.stats["num_files"] > 0


def test_the_first_of_the_same_documents_of_several_groups_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tables(tmp_path / "code")
    divide(monkeypatch)
    manifest = ingest(tmp_path / "divided", source)
    files, drops = contents(tmp_path / "divided")
    assert len({row["document_id"] for row in files}) == len(files)
    assert manifest.stats["reasons"]["same_document"] == 20 * (NUM_TABLES - 1) + NUM_TABLES
    indices = {
        shards.shard_index(entry.name)
        for entry in manifest.tables(FILES)
        for row in shards.read_shard(str(tmp_path / "divided"), entry.name).to_pylist()
        if row["repository"] == "owner/same"
    }
    assert max(indices) < 1_000_000, "they are of the first group"
    assert sum(row["reason"] == "opted_out" for row in drops) == NUM_TABLES


@pytest.mark.parametrize("partition_bytes", [100, 1_000])
def test_the_number_of_partitions_changes_no_byte(
    partition_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tables(tmp_path / "code")
    divide(monkeypatch)
    exchange = InProcessExchange(partition_bytes=partition_bytes)
    assert exchange.num_partitions(NUM_TABLES * TABLE_FILES * 16) > 3
    expected = ingest(tmp_path / "one", source)
    assert ingest(tmp_path / "many", source, exchange).digest == expected.digest


def test_a_source_in_one_group_exchanges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr(ingest_module, "drop_same_documents", fail)
    assert ingest(tmp_path / "out", tables(tmp_path / "code")).stats["num_files"] > 0


@pytest.mark.parametrize("name", ["put_drops", "put_files", "remove"])
@pytest.mark.parametrize("calls", range(5))
def test_a_move_of_later_documents_that_ended_in_the_middle_goes_on_to_the_same_digest(
    name: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tables(tmp_path / "code")
    divide(monkeypatch)
    expected = ingest(tmp_path / "whole", source)
    remaining = iter(range(calls))
    module = shards if name == "remove" else same_documents
    function = getattr(module, name)

    def call_or_stop(*arguments: Any, **named: Any) -> None:
        if next(remaining, None) is None:
            raise KeyboardInterrupt
        function(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, call_or_stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(tmp_path / "again", source)
    again = ingest(tmp_path / "again", source)
    assert again.digest == expected.digest
    assert again.stats == expected.stats
    assert sorted(path.name for path in (tmp_path / "again").glob("*-*")) == sorted(
        path.name for path in (tmp_path / "whole").glob("*-*")
    ), "nothing is left of replaced shards"


def test_a_damaged_shard_behind_a_replaced_one_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tables(tmp_path / "code")
    divide(monkeypatch)
    folder = str(tmp_path / "divided")
    expected = ingest(folder, source)
    indices = [shards.shard_index(entry.name) for entry in expected.tables(FILES)]
    damaged = next(
        index
        for index in indices
        if any(earlier % 2 for earlier in indices if index - 1_000 < earlier < index)
    )
    integrity.clear(folder, [shards.table_name(FILES, damaged)])
    again = ingest(folder, source)
    assert (again.digest, again.stats) == (expected.digest, expected.stats)


def twice(*elements: Any, function: Any, **shared: Any) -> Any:
    function(*elements, **shared)
    return function(*elements, **shared)


class RepeatingExchange(InProcessExchange):
    """Calls each function twice, as if a worker had been lost after its work."""

    def map_shards(self, function: Any, *inputs: Any, schema: Any, **shared: Any) -> ShardMap:
        return super().map_shards(
            partial(twice, function=function), *inputs, schema=schema, **shared
        )


def test_calls_that_run_again_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tables(tmp_path / "code")
    divide(monkeypatch)
    expected = ingest(tmp_path / "once", source)
    again = ingest(tmp_path / "again", source, RepeatingExchange())
    assert (again.digest, again.stats) == (expected.digest, expected.stats)


def test_a_divided_ingest_killed_in_the_middle_ends_with_the_same_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = many(tmp_path / "code", repositories=30, files=16, file_bytes=1_500)
    divide(monkeypatch)
    program = (
        "import sys; from snow_assets.corpus import unit_groups; unit_groups.GROUP_BYTES = 1;"
        "from tests.corpus.test_unit_groups import ingest;"
        "from tests.corpus.builders import a_source;"
        "ingest(sys.argv[1], a_source(sys.argv[2], kind='folder'))"
    )
    victim = tmp_path / "victim"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(victim), str(tmp_path / "code")],
        cwd=Path(__file__).parents[2],
    )
    while process.poll() is None and len(shards.names(str(victim / "records"))) < 6:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not shards.is_finished(str(victim)), "it ended before it could be killed"
    recorded = sorted(path.name for path in (victim / "records").glob("files-*"))
    before = {name: (victim / "records" / name).stat().st_mtime_ns for name in recorded}
    assert before
    assert ingest(victim, source).digest == ingest(tmp_path / "whole", source).digest
    after = {name: (victim / "records" / name).stat().st_mtime_ns for name in recorded}
    assert before == after, "done shards are not redone"


def units(*sizes: int | None) -> Iterator[Unit]:
    for number, num_bytes in enumerate(sizes):
        yield Unit(
            name=f"{number}",
            num_bytes=num_bytes,
            listing=lambda: iter(()),
            files=lambda _: iter(()),
        )


def test_groups_are_consecutive_units_up_to_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_groups, "GROUP_BYTES", 100)
    groups = unit_groups.unit_groups(units(60, 40, 1, 500, 30, 70, 1))
    assert [(group.start, group.num_units) for group in groups] == [
        (0, 2),
        (2, 1),
        (3, 1),
        (4, 2),
        (6, 1),
    ]
    assert [group.index for group in groups] == [0, 1, 2, 3, 4]
    assert [(group.start, group.num_units) for group in unit_groups.unit_groups(units())] == [
        (0, 0)
    ]


def test_many_repositories_whose_size_is_not_listed_are_several_groups() -> None:
    groups = unit_groups.unit_groups(units(*[None] * 1_000))
    assert [group.num_units for group in groups] == [256, 256, 256, 232]


def add_a_repository(folder: Path) -> None:
    many(folder / "a", repositories=1, files=1, file_bytes=10)


def add_a_row(folder: Path) -> None:
    with (folder / "3.jsonl").open("a") as table:
        table.write(a_row("owner/late", "a.py", "x = 1\n"))


@pytest.mark.parametrize(("name", "change"), [("folders", add_a_repository), ("tables", add_a_row)])
def test_a_group_whose_source_changed_meanwhile_is_refused(
    name: str, change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES[name](tmp_path / "code")
    divide(monkeypatch)
    write_shards = ingest_module.write_shards

    def change_first(*arguments: Any, **named: Any) -> None:
        change(tmp_path / "code")
        write_shards(*arguments, **named)

    monkeypatch.setattr(ingest_module, "write_shards", change_first)
    with pytest.raises(ValueError, match="the source's files changed while"):
        ingest(tmp_path / "out", source)


def test_a_group_of_more_shards_than_have_indices_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unit_groups, "GROUP_BYTES", 1)
    group, _ = unit_groups.unit_groups(units(1, 1))
    with pytest.raises(ValueError, match=r"raise the recipe's corpus\.shard_bytes"):
        group.shard_index(500_000)
