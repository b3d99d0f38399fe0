"""Records of files as columns, and manifests of artifacts with many files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.storage import artifact_files, integrity, manifests, object_store, shards
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.file_records import FileRecord, FileRecords
from tests.test_shards import SCHEMA, finish, rows

FOLDER = "documents/stdlib/0123456789abcdef"


@pytest.fixture(params=["listed", "file table"])
def is_listed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the manifest lists the files of `fill` itself."""
    if request.param == "file table":
        monkeypatch.setattr(manifests, "_MAX_LISTED_FILES", 3)
    return bool(request.param == "listed")


def fill(lake: str) -> str:
    """Four shards of two tables, one with more than five digits, and a file that is no table."""
    folder = f"{lake}/{FOLDER}"
    for table, index in (("texts", 100_000), ("texts", 0), ("texts", 99_999), ("words", 2)):
        stats = {"language": "c", "index": index}
        shards.put_table(folder, table, index, rows(f"{table}{index}"), SCHEMA, stats=stats)
    shards.put_file(folder, "model/weights", b"\0\1")
    return folder


def test_an_artifact_reads_the_same_whether_its_manifest_lists_its_files_or_a_table_does(
    lake_url: str, is_listed: bool
) -> None:
    folder = fill(lake_url)
    written = finish(folder)
    read = shards.manifest(folder)
    assert read == written
    assert (read.file_table is None) == is_listed
    listed = json.loads(shards.get(f"{folder}/{shards.MANIFEST}"))["files"]
    assert len(listed) == (5 if is_listed else 0)
    names = ["texts-00000.parquet", "texts-99999.parquet", "texts-100000.parquet"]
    assert [entry.name for entry in read.tables("texts")] == names
    assert read.tables("texts")[2].stats == {"language": "c", "index": 100_000}
    assert (read.num_rows("texts"), read.num_tokens("words")) == (3, len("words2"))
    assert list(read.files) == list(shards.records(folder))
    assert shards.read(folder, "texts", columns=["text_id"])["text_id"].to_pylist() == [
        "texts0",
        "texts99999",
        "texts100000",
    ]
    assert shards.get_file(folder, "model/weights") == b"\0\1"
    assert integrity.violations(folder, read) == {}
    assert finish(folder) == written
    lines = sorted(f"{entry.name} {entry.sha256}\n" for entry in read.files)
    assert written.digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_one_shard_is_read_without_the_records_of_the_others(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_MAX_LISTED_FILES", 3)
    folder = fill(lake_url)
    name, table = "texts-99999.parquet", f"{folder}/{shards.FILE_TABLES}"
    finish(folder)
    hidden = Path(table).rename(f"{table}-hidden")
    assert shards.read_shard(folder, name, columns=["text_id"]).num_rows == 1
    assert shards.read_shard(folder, name).num_rows == 1
    hidden.rename(table)
    record = Path(folder, shards.record_name(name))
    record.write_bytes(b"{")
    assert shards.read_shard(folder, name).num_rows == 1, "the table of the files has it, too"
    Path(folder, name).write_bytes(b"PAR1")
    with pytest.raises(DamagedFileError, match="SHA-256"):
        shards.read_shard(folder, name)


def test_a_damaged_table_of_files_is_made_again_with_the_manifest(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_MAX_LISTED_FILES", 3)
    folder = fill(lake_url)
    written = finish(folder)
    [file] = Path(folder, shards.FILE_TABLES).iterdir()
    content = file.read_bytes()
    for damaged in (content[:-1], content[:50] + bytes([content[50] ^ 1]) + content[51:], None):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"materialize documents \[stdlib\] again"):
            shards.manifest(folder)
    integrity.clear(folder, integrity.record_violations(folder))
    assert not shards.is_finished(folder)
    assert finish(folder) == written
    assert shards.manifest(folder) == written


def test_two_writers_of_different_content_do_not_replace_each_others_table_of_files(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_MAX_LISTED_FILES", 3)
    folder = fill(lake_url)
    written = finish(folder)
    shards.put_file(folder, "model/weights", b"\2")
    with pytest.raises(ValueError, match="not deterministic"):
        finish(folder)
    assert shards.manifest(folder) == written


def test_records_on_an_object_store_are_read_many_at_a_time(s3_lake_url: str) -> None:
    folder = fill(s3_lake_url)
    assert [entry.name for entry in shards.records(folder, "texts")] == [
        "texts-00000.parquet",
        "texts-99999.parquet",
        "texts-100000.parquet",
    ]
    shards.put(f"{folder}/{shards.record_name('words-00002.parquet')}", b"")
    assert len(shards.records(folder, "texts")) == 3
    with pytest.raises(DamagedFileError, match="words-00002"):
        shards.records(folder)
    assert set(integrity.record_violations(folder)) == {"words-00002.parquet"}
    assert len(integrity.readable_records(folder)) == 4


def test_listings_of_an_object_store_go_on_over_their_pages(
    s3_lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_PAGE_OBJECTS", 2)
    folder = fill(s3_lake_url)
    assert shards.names(folder) == [
        "model",
        "records",
        "texts-00000.parquet",
        "texts-100000.parquet",
        "texts-99999.parquet",
        "words-00002.parquet",
    ]
    assert len(shards.names(f"{folder}/{shards.RECORDS}", "texts-")) == 3
    assert shards.names(f"{folder}/nowhere") == [] == shards.names("s3://no-such-bucket/lake")
    sizes = object_store.sizes(folder)
    assert len(sizes) == 10
    assert sizes["model/weights"] == 2
    assert object_store.sizes(f"{folder}/nowhere") == {}
    assert [entry.name for entry in shards.records(folder, "words")] == ["words-00002.parquet"]


def test_records_keep_every_field_and_are_small() -> None:
    entry = FileRecord(
        name="model/a-b.json",
        num_bytes=2**40,
        sha256="ab" * 32,
        num_rows=0,
        range_digests="0123456789abcdef",
        stats={"b": [1, None], "a": {"é": 0.1}},
    )
    plain = FileRecord(name="weights", num_bytes=1, sha256="00" * 32)
    few = FileRecords.of([plain, entry])
    assert list(few) == [entry, plain] == list(FileRecords.from_parquet(few.to_parquet()))
    assert few[1:] == [plain]
    assert few[::-1] == [plain, entry]
    assert list(few[0].stats) == ["b", "a"]
    before = pa.total_allocated_bytes()
    many = FileRecords.of(
        FileRecord(name=f"texts-{index:05d}.parquet", num_bytes=1, sha256="ab" * 32, stats={"n": 1})
        for index in range(20_000)
    )
    assert len(many) == 20_000
    assert (pa.total_allocated_bytes() - before) / len(many) < 200


def count_calls(monkeypatch: pytest.MonkeyPatch, module: Any, function: str) -> list[str]:
    """The last argument of each call of a module's function from now on."""
    arguments: list[str] = []
    original = getattr(module, function)

    def counted(*values: str) -> Any:
        arguments.append(values[-1])
        return original(*values)

    monkeypatch.setattr(module, function, counted)
    return arguments


def test_shards_are_read_by_the_records_in_hand(
    lake_url: str, is_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(lake_url)
    finish(folder)
    records_read = count_calls(monkeypatch, artifact_files, "record")
    for columns in (None, ["text_id"]):
        assert shards.read(folder, "texts", columns=columns).num_rows == 3
        assert sum(len(part) for part in shards.batches(folder, "texts", columns=columns)) == 3
    assert records_read == []
    shards.read_shard(folder, "words-00002.parquet")
    assert len(records_read) == (not is_listed)


def test_a_shard_that_was_made_again_is_read_by_its_present_record(lake_url: str) -> None:
    folder = fill(lake_url)
    entries = shards.records(folder, "words")
    shards.put_table(folder, "words", 2, rows("made", "again"), SCHEMA)
    for columns in (None, ["text_id"]):
        [table] = shards.read_shards(folder, entries, columns=columns)
        assert table["text_id"].to_pylist() == ["made", "again"]


def test_reading_an_unfinished_artifact_keeps_the_manifests_of_others(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, unfinished = f"{lake_url}/a/all/0", f"{lake_url}/b/all/0"
    for folder in (finished, unfinished):
        shards.put_table(folder, "texts", 0, rows("a"), SCHEMA)
    finish(finished)
    manifests_read = count_calls(monkeypatch, artifact_files, "read_manifest")
    for folder in (finished, unfinished, finished):
        shards.read_shard(folder, "texts-00000.parquet")
    assert manifests_read == [finished, unfinished]


def test_files_are_finished_once_they_have_a_record(lake_url: str) -> None:
    folder = fill(lake_url)
    shards.put(f"{folder}/words-00003.parquet", b"half")
    file_names = ["words-00002.parquet", "words-00003.parquet", "model/weights"]
    assert shards.finished_files(folder, file_names) == {"words-00002.parquet", "model/weights"}
    assert shards.finished_files(f"{lake_url}/nowhere", file_names) == set()
