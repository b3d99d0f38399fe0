"""The storage seam: nothing half-written is visible, and nothing finished is made again."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

from snow_assets.storage import shards

SCHEMA = pa.schema([("text_id", pa.string()), ("num_tokens", pa.int64())])


def finish(folder: str, **changes: object) -> shards.Manifest:
    fields = {
        "asset": "corpus",
        "partition": "python",
        "fingerprint": "g",
        "code_version": "1",
        "recipe": "SMOKE",
        "config": {},
        "inputs": [],
        "stats": {},
    }
    return shards.finish(folder, **{**fields, **changes})  # type: ignore[arg-type]


def rows(*names: str) -> list[dict[str, object]]:
    return [{"text_id": name, "num_tokens": len(name)} for name in names]


def test_a_finished_artifact_reads_back_as_written(lake_url: str) -> None:
    shards.put_table(lake_url, "texts", 0, rows("a", "bb"), SCHEMA)
    shards.put_table(lake_url, "texts", 1, rows("ccc"), SCHEMA)
    manifest = finish(lake_url)
    assert manifest.num_rows("texts") == 3
    assert manifest.num_tokens("texts") == 6
    assert shards.read(lake_url, "texts")["text_id"].to_pylist() == ["a", "bb", "ccc"]
    streamed = [row for batch in shards.batches(lake_url, "texts") for row in batch.to_pylist()]
    assert streamed == shards.read(lake_url, "texts").to_pylist()


def test_a_manifest_without_its_checksum_is_damaged(lake_url: str) -> None:
    finish(lake_url)
    url = shards.join(lake_url, shards.MANIFEST)
    content = json.loads(shards.get(url))
    del content["checksum"]
    shards.put(url, json.dumps(content).encode())
    with pytest.raises(shards.DamagedFileError, match="it has no checksum"):
        shards.manifest(lake_url)


def test_an_artifact_without_a_manifest_is_refused_with_the_remedy(lake_url: str) -> None:
    shards.put_table(lake_url, "texts", 0, rows("a"), SCHEMA)
    with pytest.raises(FileNotFoundError, match="materialize it again"):
        shards.read(lake_url, "texts")


def test_equal_content_has_an_equal_digest_wherever_it_lies(tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two"):
        folder = str(tmp_path / place)
        shards.put_table(folder, "texts", 0, rows("a"), SCHEMA)
        digests.add(finish(folder, fingerprint=place).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("store", ["lake_url", "s3_lake_url"])
def test_a_second_writer_with_other_content_is_refused(
    store: str, request: pytest.FixtureRequest
) -> None:
    lake_url: str = request.getfixturevalue(store)
    shards.put_table(lake_url, "texts", 0, rows("a"), SCHEMA)
    first = finish(lake_url)
    assert finish(lake_url) == first
    shards.put_table(lake_url, "texts", 0, rows("b"), SCHEMA)
    with pytest.raises(ValueError, match="not deterministic"):
        finish(lake_url)


def test_a_row_that_breaks_the_schema_is_refused(lake_url: str) -> None:
    with pytest.raises(pa.ArrowInvalid):
        shards.put_table(lake_url, "texts", 0, [{"text_id": "a", "num_tokens": "many"}], SCHEMA)
    assert shards.record(lake_url, "texts-00000.parquet") is None


def test_inputs_are_found_after_the_lake_has_moved(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    folder = str(lake / "corpus" / "python" / "g2")
    given = shards.Input(asset="documents", partition="stdlib", fingerprint="g1", digest="d")
    finish(folder, inputs=[given])
    moved = lake.rename(tmp_path / "elsewhere")
    found = shards.input_folders(str(moved / "corpus" / "python" / "g2"), "documents")
    assert found == [str(moved / "documents" / "stdlib" / "g1")]


def test_a_model_folder_survives_the_way_through_the_lake(tmp_path: Path, lake_url: str) -> None:
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    (model / "deep" / "weights").write_bytes(b"\0\1")
    shards.put_folder(lake_url, model, prefix="model")
    finish(lake_url)
    fetched = shards.fetch_folder(lake_url, tmp_path / "copy", prefix="model")
    assert (fetched / "deep" / "weights").read_bytes() == b"\0\1"


def test_a_kill_leaves_only_whole_files(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from snow_assets.storage import checked_json, shards
        from tests.test_shards import SCHEMA, rows
        print("ready", flush=True)
        for index in range(1_000_000):
            shards.put_table(sys.argv[1], "texts", index, rows("a" * 1000), SCHEMA)
    """)
    folder = str(tmp_path / "lake")
    writer = subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    while len(shards.names(folder)) < 20:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    finished = shards.records(folder)
    assert len(finished) >= 18
    for entry in finished:
        assert shards.read_shard(folder, entry.name).num_rows == 1
