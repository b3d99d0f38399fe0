"""Tables in a real object store: whole versions, a pointer put last, plain errors."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
import s3fs

from snow_resources.table_versions import (
    NUM_KEPT_VERSIONS,
    Version,
    fetch_current,
    folder_of,
    put_version,
)
from snow_resources.warehouse import WarehouseError, query


@pytest.fixture
def folder(s3_lake_url: str) -> str:
    return folder_of(s3_lake_url, "TINY")


def edition(path: Path, number: int) -> Path:
    """A closed database whose rows all carry a number."""
    path.parent.mkdir(exist_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table t as select {number} as edition from range(1000)")
    return path


def publish(folder: str, tmp_path: Path, number: int) -> Version:
    file = edition(tmp_path / "editions" / f"{number}.duckdb", number)
    return put_version(file, folder, inputs_digest=f"inputs {number}")


def editions(path: Path) -> set[int]:
    return {row[0] for row in query(path, "select distinct edition from t").rows}


def store() -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def versions(folder: str) -> list[str]:
    return sorted(path.rsplit("/", 1)[1] for path in store().ls(f"{folder}/versions"))


def ask(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snow_resources.sql", *arguments],
        env={**os.environ, "SNOW_HOME": str(home), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_gets_the_current_version_and_fetches_it_once(folder: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    publish(folder, tmp_path, 1)
    made = publish(folder, tmp_path, 2)
    first = fetch_current(folder, cache)
    assert editions(first) == {2}
    store().rm(f"{folder}/versions/{made.name}")
    assert fetch_current(folder, cache) == first
    assert [path.name for path in cache.iterdir()] == [f"{made.sha256}.duckdb"]


def test_equal_inputs_are_not_put_twice_unless_their_version_is_lost(
    folder: str, tmp_path: Path
) -> None:
    made = publish(folder, tmp_path, 1)
    file = tmp_path / "editions" / "1.duckdb"
    assert put_version(file, folder, inputs_digest="inputs 1") == made
    store().rm(f"{folder}/versions/{made.name}")
    put_version(file, folder, inputs_digest="inputs 1")
    assert editions(fetch_current(folder, tmp_path / "cache")) == {1}


def test_few_versions_and_few_copies_stay(folder: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(NUM_KEPT_VERSIONS + 2):
        made = publish(folder, tmp_path, number)
        fetch_current(folder, cache)
    assert len(versions(folder)) == len(list(cache.iterdir())) == NUM_KEPT_VERSIONS
    assert made.name == versions(folder)[-1]
    assert editions(fetch_current(folder, cache)) == {NUM_KEPT_VERSIONS + 1}


def test_a_version_that_no_pointer_names_is_not_read(folder: str, tmp_path: Path) -> None:
    publish(folder, tmp_path, 1)
    half = edition(tmp_path / "half.duckdb", 2)
    store().put_file(str(half), f"{folder}/versions/29991231T000000.000000Z-0.duckdb")
    assert editions(fetch_current(folder, tmp_path / "cache")) == {1}


def test_nothing_published_says_so(folder: str, s3_lake_url: str, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="no tables were published"):
        fetch_current(folder, tmp_path / "cache")
    done = ask(tmp_path, "--lake", s3_lake_url, "select 1")
    assert done.returncode == 1
    assert f"no tables were published to {s3_lake_url}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pointer_to_a_missing_version_says_so(folder: str, tmp_path: Path) -> None:
    made = publish(folder, tmp_path, 1)
    store().rm(f"{folder}/versions/{made.name}")
    with pytest.raises(WarehouseError, match=rf"names {made.name}, which is missing"):
        fetch_current(folder, tmp_path / "cache")


def test_a_version_with_another_digest_is_refused_and_not_kept(folder: str, tmp_path: Path) -> None:
    made = publish(folder, tmp_path, 1)
    store().pipe_file(f"{folder}/versions/{made.name}", b"something else")
    cache = tmp_path / "cache"
    with pytest.raises(WarehouseError, match=f"the pointer has {made.sha256}"):
        fetch_current(folder, cache)
    assert list(cache.iterdir()) == []


def test_a_store_that_does_not_answer_says_so(s3_lake_url: str, tmp_path: Path) -> None:
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    done = ask(tmp_path, "--lake", s3_lake_url, "select 1", **nobody)
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_reads_a_lakes_only_recipe_or_the_one_that_is_named(
    s3_lake_url: str, tmp_path: Path
) -> None:
    sql = "select max(edition) as found from t"
    publish(folder_of(s3_lake_url, "ONE"), tmp_path, 1001)
    done = ask(tmp_path, "--lake", s3_lake_url, sql)
    assert done.returncode == 0, done.stderr
    assert "1,001" in done.stdout
    publish(folder_of(s3_lake_url, "TWO"), tmp_path, 2002)
    assert "ONE, TWO: set RECIPE to " in ask(tmp_path, "--lake", s3_lake_url, sql).stderr
    named = ask(tmp_path, "--lake", s3_lake_url, "--recipe", "TWO", sql)
    assert "2,002" in named.stdout


def test_publishing_while_reading_fails_no_reader(folder: str, tmp_path: Path) -> None:
    publish(folder, tmp_path, 0)
    stop, seen, errors = threading.Event(), set(), []

    def read(cache: Path) -> None:
        while not stop.is_set():
            try:
                found = editions(fetch_current(folder, cache))
            except WarehouseError as error:
                errors.append(error)
            else:
                assert len(found) == 1
                seen.update(found)

    readers = [threading.Thread(target=read, args=(tmp_path / f"cache-{n}",)) for n in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 21):
        publish(folder, tmp_path, number)
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert len(seen) >= 2, "the readers met one edition only: the test shows nothing"
