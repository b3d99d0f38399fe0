"""Over 500 hostile inputs end no source: each is a row that was kept, or one that says why not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from snow_assets.corpus.ingest import ingest
from snow_assets.corpus.validation import validate_counts
from snow_assets.curation.prepare import prepare
from snow_assets.storage import shards
from tests.artifacts import finish
from tests.corpus import hostile
from tests.corpus.builders import LIMITS, OPEN_GATE, a_recipe, a_source


def curated(
    location: Path, kind: Literal["folder", "archives", "rows", "stack_v3"], out: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Documents, and drops of ingest and curation; every row of ingest is one of them."""
    source = a_source(location, kind=kind)
    recipe = a_recipe(
        source,
        max_file_bytes=200_000,
        shard_bytes=4_000_000,
        archives=replace(LIMITS, max_members=10_000, max_bytes=20_000_000),
    )
    raw, folder = str(out / "raw"), str(out / "documents")
    stats = ingest(raw, source, recipe=recipe, languages=hostile.LANGUAGES, gate=OPEN_GATE)
    finish(raw, stats=stats)
    assert validate_counts([raw]) == []
    prepared = prepare(raw, folder, languages=hostile.LANGUAGES, with_parses=True)
    finish(folder, stats=prepared)
    documents = shards.read(folder, "documents").to_pylist()
    dropped = shards.read(folder, "drops").to_pylist()
    assert len(documents) + len(dropped) == stats["num_files"]
    drops = [*shards.read(raw, "drops").to_pylist(), *dropped]
    assert all(row["source"] == "here" and row["reason"] and row["repository"] for row in drops)
    assert len(documents) + len(drops) == stats["num_files_in"]
    return documents, drops


def test_every_hostile_file_of_a_folder_is_a_document_or_says_why_not(tmp_path: Path) -> None:
    count = hostile.folder(tmp_path / "in")
    documents, drops = curated(tmp_path / "in", "folder", tmp_path)
    assert len(documents) + len(drops) == count > 900
    assert Counter(row["reason"] for row in drops)["unreadable"] == 0
    texts = {row["path"]: row["text"] for row in documents}
    assert all(text.isascii() or text.encode() for text in texts.values())


def test_every_hostile_line_of_a_table_is_a_document_or_says_why_not(tmp_path: Path) -> None:
    for inline, name in ((False, "t.jsonl"), (False, "t.jsonl.gz"), (True, "v.jsonl")):
        path = tmp_path / f"{inline}-{name}"
        count = hostile.json_lines(path, inline=inline)
        documents, drops = curated(
            path, "stack_v3" if inline else "rows", tmp_path / f"out-{inline}-{name}"
        )
        rows_of_other_names = count - len(documents) - len(drops)
        assert 0 <= rows_of_other_names <= 8, "names that are of no language of the recipe"
        assert count > 130
        assert {"good/rows"} <= {row["repository"] for row in documents}


def test_of_damaged_parquet_files_every_one_is_read_or_says_why_not(tmp_path: Path) -> None:
    count = hostile.parquet_files(tmp_path / "in", count=60)
    documents, drops = curated(tmp_path / "in", "rows", tmp_path)
    assert count > 60
    assert len(documents) + len(drops) > 60
    assert any(row["repository"] == "good/rows" for row in documents)


def test_every_hostile_archive_is_read_or_says_why_not(tmp_path: Path) -> None:
    count = hostile.archives(tmp_path / "in", count=150)
    documents, drops = curated(tmp_path / "in", "archives", tmp_path)
    assert count > 200
    named = {row["repository"] for row in [*documents, *drops]}
    assert {f"m{number:03d}" for number in range(150)} <= named
    assert {row["text"] for row in documents if row["repository"] == "sound"} == {
        hostile.GOOD.decode()
    }
    assert {row["text"] for row in documents if row["repository"].startswith("m")} == {
        hostile.GOOD.decode()
    } or any(row["path"] == "" for row in drops)
