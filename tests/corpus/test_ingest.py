"""Rows in = files + drops; a repository in one shard; a kill costs one shard; same bytes always."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from snow_assets.corpus.ingest import ingest
from snow_assets.corpus.raw_shards import DROPS, FILES
from snow_assets.corpus.source_rows import Gate
from snow_assets.corpus.validation import validate_counts
from snow_assets.recipe import CorpusRecipe, Source
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import DROP, RAW_FILE
from tests.corpus.builders import GPL, OPEN_GATE, a_recipe, a_repository, a_source, a_tar


def run(
    folder: Path | str, source: Source, recipe: CorpusRecipe | None = None, gate: Gate = OPEN_GATE
) -> shards.Manifest:
    made = recipe or a_recipe(source)
    stats = ingest(str(folder), source, recipe=made, languages=("python", "c"), gate=gate)
    return finish(folder, stats)


def finish(folder: Path | str, stats: dict[str, Any]) -> shards.Manifest:
    return shards.finish(
        str(folder),
        asset="raw_code_corpus",
        partition="here",
        fingerprint="g",
        code_version="1",
        recipe="TEST",
        config={},
        inputs=[],
        stats=stats,
    )


def many(folder: Path, *, repositories: int, files: int, file_bytes: int) -> Source:
    for repository in range(repositories):
        contents = {
            f"m{number}.py": f"# {repository} {number}\n".ljust(file_bytes, "#")
            for number in range(files)
        }
        a_repository(folder / f"r{repository:02d}", contents)
    return a_source(folder, kind="folder")


def test_every_file_that_came_in_is_admitted_or_dropped_with_a_reason(tmp_path: Path) -> None:
    a_repository(
        tmp_path / "code" / "good",
        {
            "a.py": "x = 1\n",
            "empty.py": " \n",
            "big.py": "x" * 30_000,
            "gpl.c": "// SPDX-License-Identifier: GPL-2.0\n",
            "latin.py": b"# caf\xe9\n",
            "logo.png": b"png",
        },
    )
    a_repository(tmp_path / "code" / "copyleft", {"b.py": "y = 1\n"}, license_=GPL)
    a_repository(tmp_path / "code" / "silent", {"c.py": "z = 1\n"}, license_="")
    manifest = run(tmp_path / "out", a_source(tmp_path / "code", kind="folder"))
    drops = shards.read(str(tmp_path / "out"), DROPS)
    assert drops.schema == DROP
    assert {row["path"]: row["reason"] for row in drops.to_pylist()} == {
        "b.py": "license_not_permissive",
        "big.py": "too_large",
        "c.py": "license_unknown",
        "empty.py": "empty",
        "gpl.c": "license_not_permissive",
    }
    files = shards.read(str(tmp_path / "out"), FILES)
    assert files.schema == RAW_FILE
    assert files["path"].to_pylist() == ["a.py", "latin.py"]
    assert manifest.stats["num_files_in"] == 7 == files.num_rows + drops.num_rows
    assert manifest.stats["reasons"]["license_not_permissive"] == 2


def test_bytes_are_kept_as_received(tmp_path: Path) -> None:
    content = b"# caf\xe9\r\n\0x = 1"
    a_repository(tmp_path / "code" / "good", {"a.py": content})
    run(tmp_path / "out", a_source(tmp_path / "code", kind="folder"))
    assert shards.read(str(tmp_path / "out"), FILES)["content"].to_pylist() == [content]


@pytest.mark.parametrize("entry", ["code/good", "code/*"])
def test_an_opted_out_repository_never_enters_and_leaves_one_row(
    entry: str, tmp_path: Path
) -> None:
    tables = tmp_path / "rows.jsonl"
    tables.write_text(
        '{"repo_name": "Code/Good", "path": "a.py", "content": "x = 1", "license": "MIT"}\n'
        '{"repo_name": "Code/Good", "path": "b.py", "content": "x = 2", "license": "MIT"}\n'
        '{"repo_name": "other/good", "path": "b.py", "content": "x = 3", "license": "MIT"}\n'
    )
    gate = Gate(opted_out=frozenset({entry}), exemplars=frozenset())
    manifest = run(tmp_path / "out", a_source(tables, kind="rows"), gate=gate)
    admitted = shards.read(str(tmp_path / "out"), FILES)["repository"].to_pylist()
    assert admitted == ["other/good"]
    assert manifest.stats["num_repositories"] == 1
    rows = shards.read(str(tmp_path / "out"), DROPS).to_pylist()
    assert [(row["repository"], row["path"], row["reason"]) for row in rows] == [
        ("Code/Good", "", "opted_out")
    ]


def test_an_exemplar_repository_stays_outside(tmp_path: Path) -> None:
    a_repository(tmp_path / "code" / "Good_Code", {"a.py": "x = 1\n"})
    gate = Gate(opted_out=frozenset(), exemplars=frozenset({"good-code"}))
    manifest = run(tmp_path / "out", a_source(tmp_path / "code", kind="folder"), gate=gate)
    assert manifest.stats["num_files"] == 0
    assert manifest.stats["reasons"] == {"exemplar": 1}


def test_an_opted_out_archive_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "gone-1.0.tar.gz"
    path.write_bytes(b"not an archive")
    gate = Gate(opted_out=frozenset({"gone"}), exemplars=frozenset())
    manifest = run(tmp_path / "out", a_source(path, kind="archives"), gate=gate)
    assert manifest.stats["reasons"] == {"opted_out": 1}


def test_a_repository_that_fits_stays_in_one_shard(tmp_path: Path) -> None:
    source = many(tmp_path / "code", repositories=7, files=4, file_bytes=1_500)
    manifest = run(tmp_path / "out", source)
    places: dict[str, set[str]] = {}
    for entry in manifest.tables(FILES):
        for row in shards.read_shard(str(tmp_path / "out"), entry.name).to_pylist():
            places.setdefault(row["repository"], set()).add(entry.name)
    assert len(manifest.tables(FILES)) > 2
    assert [len(names) for names in places.values()] == [1] * 7
    assert manifest.stats["num_repositories"] == 7


def test_a_repository_larger_than_a_shard_is_cut_and_loses_nothing(tmp_path: Path) -> None:
    source = many(tmp_path / "code", repositories=1, files=40, file_bytes=1_500)
    manifest = run(tmp_path / "out", source)
    assert len(manifest.tables(FILES)) > 2
    assert manifest.num_rows(FILES) == manifest.stats["num_files_in"] == 40
    assert manifest.stats["num_repositories"] == 1


def test_no_shard_holds_more_than_its_bytes(tmp_path: Path) -> None:
    source = many(tmp_path / "code", repositories=5, files=9, file_bytes=1_500)
    manifest = run(tmp_path / "out", source)
    for entry in manifest.tables(FILES):
        content = shards.read_shard(str(tmp_path / "out"), entry.name)["content"].to_pylist()
        assert sum(len(one) for one in content) <= a_recipe(source).shard_bytes


def test_a_sample_takes_so_many_of_each_language_and_is_the_same_every_time(
    tmp_path: Path,
) -> None:
    files = {f"{n}.{end}": "x = 1\n" for n in range(20) for end in ("py", "c")}
    a_repository(tmp_path / "code" / "r", files)
    a_tar(tmp_path / "r-1.0.tar.gz", [(name, b"x = 1\n") for name in files])
    taken = []
    for number, (location, kind) in enumerate(
        [("code", "folder"), ("code", "folder"), ("r-1.0.tar.gz", "archives")]
    ):
        source = a_source(tmp_path / location, kind=kind, files_per_repository=5)  # type: ignore[arg-type]
        run(tmp_path / f"out{number}", source)
        folder = str(tmp_path / f"out{number}")
        tables = [shards.read(folder, name)["path"].to_pylist() for name in (FILES, DROPS)]
        taken.append(sorted([*tables[0], *tables[1]]))
    assert taken[0] == taken[1] == taken[2]
    assert len([path for path in taken[0] if path.endswith(".c")]) == 5
    assert len(taken[0]) == 10


def test_an_empty_source_gives_empty_tables(tmp_path: Path) -> None:
    a_repository(tmp_path / "code" / "r", {"readme.md": "hello"})
    manifest = run(tmp_path / "out", a_source(tmp_path / "code", kind="folder"))
    assert shards.read(str(tmp_path / "out"), FILES).num_rows == 0
    assert manifest.stats["num_files_in"] == 0


@pytest.mark.parametrize("num_files", [3, 17])
@pytest.mark.parametrize("lost", [1, 2, 4])
def test_an_ingest_that_lost_its_later_shards_ends_with_the_same_digest(
    num_files: int, lost: int, tmp_path: Path
) -> None:
    source = many(tmp_path / "code", repositories=5, files=num_files, file_bytes=1_500)
    whole = run(tmp_path / "whole", source)
    again = str(tmp_path / "again")
    kept = whole.tables(FILES)[: len(whole.tables(FILES)) - lost]
    for entry in kept:
        for name in (entry.name, entry.name.replace(FILES, DROPS)):
            known = shards.record(str(tmp_path / "whole"), name)
            assert known is not None
            content = shards.get(shards.join(str(tmp_path / "whole"), name))
            shards.put_file(again, name, content, num_rows=known.num_rows, stats=known.stats)
    assert run(again, source).digest == whole.digest
    assert run(again, source).stats == whole.stats


def test_an_ingest_killed_in_the_middle_ends_with_the_same_digest(tmp_path: Path) -> None:
    source = many(tmp_path / "code", repositories=30, files=6, file_bytes=1_500)
    program = (
        "import sys; from pathlib import Path; from tests.corpus.test_ingest import run;"
        "from tests.corpus.builders import a_source;"
        "run(sys.argv[1], a_source(sys.argv[2], kind='folder'))"
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
    before = {path.name: path.stat().st_mtime_ns for path in victim.glob("files-*")}
    resumed = run(victim, source)
    assert resumed.digest == run(tmp_path / "whole", source).digest
    after = {path.name: path.stat().st_mtime_ns for path in victim.glob("files-*")}
    recorded = sorted(before)[:-1]  # the last one may have been written without its record
    assert recorded
    assert all(before[name] == after[name] for name in recorded), "done shards are not redone"


@pytest.mark.parametrize("partition_bytes", [2**30, 500])
def test_documents_that_stand_twice_in_a_source_and_lost_rows_are_violations(
    partition_bytes: int, tmp_path: Path
) -> None:
    folder = str(tmp_path / "out")
    source = many(tmp_path / "code", repositories=7, files=4, file_bytes=1_500)
    stats = ingest(folder, source, recipe=a_recipe(source), languages=("python",), gate=OPEN_GATE)
    rows = shards.read_shard(folder, shards.table_name(FILES, 0))
    shards.put_table(folder, FILES, 99, rows.slice(0, 3), RAW_FILE)
    finish(folder, stats)
    exchange = InProcessExchange(partition_bytes=partition_bytes)
    first = min(rows.slice(0, 3)["document_id"].to_pylist())
    assert validate_counts([folder], exchange=exchange) == [
        f"{folder}: 28 came in, 31 are in files and drops",
        f"{folder}: 3 documents stand in it twice, as {first}",
    ]
