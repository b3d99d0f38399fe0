"""Columns of a table are read by byte ranges, and every byte that is read is compared."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from snow_assets.storage import checked_json, column_ranges, integrity, shards
from snow_assets.storage.checked_json import DamagedFileError

TABLE = pa.table(
    {
        "text_id": [f"{row:08x}" for row in range(20)],
        "text": [f"line {row * row} of a text that is longer than its id" for row in range(20)],
        "num_tokens": range(20),
        "spans": [[row, row + 1] for row in range(20)],
    }
)
NAME = shards.table_name("texts", 0)
COLUMNS = ["num_tokens", "spans"]


@pytest.fixture
def folder(lake_url: str) -> str:
    return put(lake_url)


def put(lake: str, table: pa.Table = TABLE) -> str:
    folder = f"{lake}/documents/stdlib/0123456789abcdef"
    shards.put_table(folder, "texts", 0, table, table.schema)
    return folder


def offsets(folder: str, columns: list[str]) -> set[int]:
    """The places of all bytes of columns and of the footer, by Parquet's own metadata."""
    content = shards.get(f"{folder}/{NAME}")
    metadata = pq.read_metadata(pa.BufferReader(content))
    footer_bytes = 8 + int.from_bytes(content[-8:-4], "little")
    places = set(range(len(content) - footer_bytes, len(content)))
    for index in range(metadata.num_columns):
        chunk = metadata.row_group(0).column(index)
        if chunk.path_in_schema.split(".")[0] in columns:
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            places |= set(range(start, start + chunk.total_compressed_size))
    return places


def changed(content: bytes, offset: int) -> bytes:
    return content[:offset] + bytes([content[offset] ^ 1 << offset % 8]) + content[offset + 1 :]


def test_columns_read_as_written(folder: str) -> None:
    assert shards.read_shard(folder, NAME, columns=COLUMNS).equals(TABLE.select(COLUMNS))
    assert shards.read_shard(folder, NAME, columns=["spans", "text"]).equals(
        TABLE.select(["spans", "text"])
    )
    assert shards.columns(folder, NAME) == TABLE.column_names


def test_a_change_of_any_byte_of_the_columns_or_the_footer_is_noticed(folder: str) -> None:
    file, read = Path(folder, NAME), offsets(folder, COLUMNS)
    content, unnoticed, refused = file.read_bytes(), [], []
    for offset in range(len(content)):
        file.write_bytes(changed(content, offset))
        try:
            table = shards.read_shard(folder, NAME, columns=COLUMNS)
        except DamagedFileError as error:
            assert f"{NAME} is damaged" in str(error)
            assert "materialize documents [stdlib] again" in str(error)
            refused += [offset] if offset not in read else []
        else:
            unnoticed += [offset] if offset in read else []
            assert table.equals(TABLE.select(COLUMNS))
    assert (unnoticed, refused) == ([], [])


def test_a_file_of_any_other_length_is_noticed(folder: str) -> None:
    file = Path(folder, NAME)
    content = file.read_bytes()
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match=f"{len(content):,} were written"):
            shards.read_shard(folder, NAME, columns=COLUMNS)
    file.write_bytes(content + b"\0")
    with pytest.raises(DamagedFileError, match=f"{len(content):,} were written"):
        shards.columns(folder, NAME)


def test_a_file_found_damaged_is_marked_and_a_missing_one_is_named(folder: str) -> None:
    file, (first, *_) = Path(folder, NAME), sorted(offsets(folder, COLUMNS))
    file.write_bytes(changed(file.read_bytes(), first))
    manifest = finish(folder)
    assert integrity.violations(folder, manifest) == {}, "its size is right"
    with pytest.raises(DamagedFileError, match="the digest of its column num_tokens"):
        shards.read_shard(folder, NAME, columns=COLUMNS)
    assert set(integrity.violations(folder, manifest)) == {NAME}
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"materialize documents \[stdlib\] again"):
        shards.read_shard(folder, NAME, columns=COLUMNS)


def finish(folder: str) -> shards.Manifest:
    return shards.finish(
        folder,
        asset="documents",
        partition="stdlib",
        fingerprint="0123456789abcdef",
        code_version="1",
        recipe="SMOKE",
        config={},
        inputs=[],
        stats={},
    )


def test_columns_of_an_artifact_that_was_made_again_are_read_by_its_new_record(folder: str) -> None:
    finish(folder)
    assert shards.read_shard(folder, NAME, columns=COLUMNS).num_rows == TABLE.num_rows
    shards.remove(folder)
    few = TABLE.slice(0, 3)
    put(folder.rsplit("/", 3)[0], few)
    assert shards.read_shard(folder, NAME, columns=COLUMNS).equals(few.select(COLUMNS))


def test_a_file_whose_record_has_no_digests_of_columns_is_compared_whole(folder: str) -> None:
    url = f"{folder}/{shards.record_name(NAME)}"
    entry = json.loads(shards.get(url))
    for key in ("checksum", "footer_bytes", "range_digests"):
        del entry[key]
    shards.put(url, checked_json.dump(entry))
    assert shards.read_shard(folder, NAME, columns=COLUMNS).equals(TABLE.select(COLUMNS))
    file = Path(folder, NAME)
    file.write_bytes(changed(file.read_bytes(), 40))  # of the column text_id
    with pytest.raises(DamagedFileError, match="SHA-256"):
        shards.read_shard(folder, NAME, columns=COLUMNS)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each response of an S3 server with bytes of a table, in order."""
    sizes: list[int] = []
    cat_file = s3fs.S3FileSystem._cat_file

    async def counted(self: Any, path: str, **options: Any) -> bytes:
        content: bytes = await cat_file(self, path, **options)
        sizes.extend([len(content)] if path.endswith(".parquet") else [])
        return content

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", counted)
    return sizes


def test_of_an_object_only_the_footer_and_the_columns_are_fetched(
    s3_lake_url: str, fetched: list[int]
) -> None:
    generator = random.Random(0)
    texts = [generator.randbytes(300).hex() for _ in range(3_000)]
    table = pa.table({"text": texts, "num_tokens": range(3_000), "more": texts})
    folder = put(s3_lake_url, table)
    read = offsets(folder, ["num_tokens"])
    fetched.clear()
    assert shards.read_shard(folder, NAME, columns=["num_tokens"]).equals(
        table.select(["num_tokens"])
    )
    assert sum(fetched) == len(read) < 30_000
    assert len(shards.get(f"{folder}/{NAME}")) > 1_800_000
    content = shards.get(f"{folder}/{NAME}")
    for offset in (min(read), max(read)):
        shards.put(f"{folder}/{NAME}", changed(content, offset))
        with pytest.raises(DamagedFileError, match=r"materialize documents \[stdlib\] again"):
            shards.read_shard(folder, NAME, columns=["num_tokens"])
    for length in (0, min(read) + 9, len(content) - 9):
        shards.put(f"{folder}/{NAME}", content[:length])
        with pytest.raises(DamagedFileError, match=f"{len(content):,} were written"):
            shards.read_shard(folder, NAME, columns=["num_tokens"])
    shards.remove(f"{folder}/{NAME}")
    with pytest.raises(FileNotFoundError, match=r"materialize documents \[stdlib\] again"):
        shards.read_shard(folder, NAME, columns=["num_tokens"])


def test_shards_of_an_object_store_are_read_several_at_a_time_and_in_order(
    s3_lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{s3_lake_url}/documents/stdlib/0123456789abcdef"
    for index in range(20):
        table = pa.table({"index": [index] * 3, "text": [f"{index}"] * 3})
        shards.put_table(folder, "texts", index, table, table.schema)
    finish(folder)
    num_running, most_running = 0, 0
    open_columns = column_ranges.open_columns

    def watched(*arguments: Any) -> pq.ParquetFile:
        nonlocal num_running, most_running
        num_running += 1
        most_running = max(most_running, num_running)
        file = open_columns(*arguments)
        num_running -= 1
        return file

    monkeypatch.setattr("snow_assets.storage.shards.open_columns", watched)
    table = shards.read(folder, "texts", columns=["index"])
    assert table["index"].to_pylist() == [index for index in range(20) for _ in range(3)]
    assert 1 < most_running <= 8
