"""Whatever changes in a file of the lake is noticed, named with the remedy, and made again."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from rich.console import Console

from snow_assets.cli.verify import show, verify
from snow_assets.defs.materialize import current_artifact
from snow_assets.storage import integrity, shards
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.pointers import pointer_content, read_pointer
from snow_resources.lake import Lake
from tests.test_plan import Home

NAMES = ("words_said", "words_heard", "words_counted")


@pytest.fixture
def home(lake_url: str) -> Home:
    return Home(Lake(url=lake_url))


def flip(path: Path, bit: int) -> bytes:
    """Change one bit of a file; returns what stood there before."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(bytes(changed))
    return content


def flips(path: Path, number: int) -> Iterator[int]:
    """Change one bit after another, at places spread over the file; each is put right again."""
    num_bits = path.stat().st_size * 8
    for index in range(number):
        # A step that shares no factor with a power of two reaches bits of every value.
        bit = (index * (num_bits // number) + index * 7) % num_bits
        before = flip(path, bit)
        yield bit
        path.write_bytes(before)


def folder_of(home: Home, asset: str) -> Path:
    return Path(current_artifact(home.lake, home.recipe, asset).folder)


def test_300_single_bit_flips_are_all_noticed(tmp_path: Path) -> None:
    artifact = tmp_path / "lake" / "documents" / "stdlib" / "0123456789abcdef"
    folder = str(artifact)
    weights = safetensors.numpy.save({"weight": np.arange(2_000, dtype=np.float32)})
    shards.put_table(
        folder,
        "documents",
        0,
        [{"text": f"line {row} of a text"} for row in range(500)],
        shards.pa.schema([("text", shards.pa.string())]),
    )
    shards.put_file(folder, "model/model.safetensors", weights)
    manifest = shards.finish(
        folder,
        asset="documents",
        partition="stdlib",
        fingerprint=artifact.name,
        code_version="1",
        recipe="SMOKE",
        config={"languages": ["c", "python"]},
        inputs=[],
        stats={"files": 1},
    )
    pointer = tmp_path / "lake" / "current" / "SMOKE" / "documents" / "stdlib.json"
    shards.put(str(pointer), pointer_content(artifact.name, manifest.digest, {}))
    readers: dict[Path, Callable[[], Any]] = {
        artifact / "documents-00000.parquet": lambda: shards.read(folder, "documents"),
        artifact / "model" / "model.safetensors": lambda: shards.fetch_folder(
            folder, tmp_path, prefix="model"
        ),
        artifact / "manifest.json": lambda: shards.manifest(folder),
        artifact / "records" / "documents-00000.parquet.json": lambda: shards.records(folder),
        pointer: lambda: read_pointer(str(pointer)),
    }
    unnoticed, wrong_words = [], []
    for path, read in readers.items():
        read()
        for bit in flips(path, 60):
            try:
                read()
            except DamagedFileError as error:
                if path.name not in str(error) or "materialize documents [stdlib]" not in str(
                    error
                ):
                    wrong_words.append(str(error))
            else:
                unnoticed.append((path.name, bit))
    assert (unnoticed, wrong_words) == ([], [])


def test_a_bit_of_a_column_is_noticed_by_its_readers_and_by_verify(home: Home) -> None:
    home.run("words_said")
    folder = folder_of(home, "words_said")
    flip(folder / "words-00000.parquet", 40 * 8)
    assert shards.read(str(folder), "words", columns=["num_tokens"]).num_rows
    with pytest.raises(DamagedFileError, match="materialize words_said again"):
        shards.read(str(folder), "words", columns=["word"])
    assert [damage.remedy for damage in verify(home.lake.url).damages] == [
        "materialize words_said again"
    ]


def test_a_file_of_unfinished_work_that_a_reader_found_damaged_is_named(tmp_path: Path) -> None:
    folder = str(tmp_path / "lake" / "documents" / "stdlib" / "0123456789abcdef")
    schema = shards.pa.schema([("text", shards.pa.string())])
    shards.put_table(folder, "documents", 0, [{"text": "a line of a text"}], schema)
    assert integrity.unfinished_violations(folder) == {}
    flip(Path(folder) / "documents-00000.parquet", 40 * 8)
    with pytest.raises(DamagedFileError):
        shards.read_shard(folder, "documents-00000.parquet")
    (violation,) = integrity.unfinished_violations(folder).items()
    assert violation[0] == "documents-00000.parquet"
    assert violation[1].startswith("its SHA-256 is ")
    integrity.clear(folder, [violation[0]])
    assert shards.records(folder) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "one bit"])
def test_a_damaged_shard_is_named_by_the_plan_and_made_again_with_its_digest(
    home: Home, damage: str
) -> None:
    home.run()
    folder = folder_of(home, "words_said")
    digest = shards.manifest(str(folder)).digest
    shard = folder / "words-00001.parquet"
    if damage == "missing":
        shard.unlink()
    elif damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        flip(shard, 99)
        with pytest.raises(DamagedFileError, match=r"words-00001.*materialize words_said again"):
            shards.read(str(folder), "words")
    outcome, reasons = home.told()["words_said"]
    assert outcome == "redo"
    assert "words-00001.parquet" in reasons[0]
    home.run("words_said")
    assert shards.manifest(str(folder)).digest == digest
    assert shards.read(str(folder), "words")["word"].to_pylist() == ["one", "two"]
    assert {outcome for outcome, _ in home.told().values()} == {"reuse"}


def test_a_file_of_the_page_that_is_damaged_is_made_again(home: Home) -> None:
    home.run("words_said")
    folder = folder_of(home, "words_said")
    [entries] = (folder / "metadata").glob("entries-*.json")
    flip(entries, 9)
    home.run("words_said")
    home.run("words_said")
    assert verify(home.lake.url).damages == []


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"asset": 3}', b"\xff\x00"])
def test_a_damaged_manifest_is_named_and_the_plan_goes_on(
    home: Home, content: bytes | None
) -> None:
    home.run()
    folder = folder_of(home, "words_heard")
    digest, manifest = shards.manifest(str(folder)).digest, folder / "manifest.json"
    if content is None:
        flip(manifest, 2_000)
    else:
        manifest.write_bytes(content)
    told = home.told()
    assert told["words_said"][0] == "reuse"
    outcome, reasons = told["words_heard"]
    assert outcome == "redo"
    assert f"{manifest} is damaged" in reasons[0]
    assert "materialize words_heard again" in reasons[0]
    home.run("words_heard")
    assert shards.manifest(str(folder)).digest == digest
    assert {outcome for outcome, _ in home.told().values()} == {"reuse"}


@pytest.mark.parametrize("content", [None, b"", b"null", b'{"fingerprint": "../../etc"}'])
def test_a_damaged_pointer_is_named_and_the_plan_goes_on(home: Home, content: bytes | None) -> None:
    home.run()
    pointer = Path(home.lake.pointer("SMOKE", "words_said", "all"))
    if content is None:
        flip(pointer, 801)
    else:
        pointer.write_bytes(content)
    outcome, reasons = home.told()["words_said"]
    assert outcome == "reuse"
    assert f"{pointer} is damaged" in reasons[0]
    with pytest.raises(DamagedFileError, match="materialize words_said again"):
        current_artifact(home.lake, home.recipe, "words_said")
    home.run("words_said")
    assert {reasons for _, reasons in home.told().values()} == {()}


@pytest.mark.parametrize("name", ["in_progress.json", "records/words-00000.parquet.json"])
def test_damaged_work_in_progress_does_not_stop_the_plan_or_the_next_run(
    home: Home, name: str
) -> None:
    home.run("words_said")
    folder = folder_of(home, "words_said")
    digest = shards.manifest(str(folder)).digest
    (folder / "manifest.json").unlink()
    (folder / name).write_bytes(b'{"recipe": ')
    assert home.told()["words_said"][0] in ("go on", "redo")
    assert [damage.url for damage in verify(home.lake.url).damages][-1].startswith(str(folder))
    home.run("words_said")
    assert shards.manifest(str(folder)).digest == digest


def test_verify_names_every_damaged_file_and_what_to_materialize(home: Home) -> None:
    home.run()
    clean = verify(home.lake.url)
    assert (clean.num_artifacts, clean.damages) == (3, [])
    flip(folder_of(home, "words_said") / "words-00000.parquet", 77)
    (folder_of(home, "words_counted") / "words-00000.parquet").unlink()
    flip(folder_of(home, "words_heard") / "manifest.json", 900)
    result = verify(home.lake.url)
    console = Console(width=200, file=io.StringIO(), record=True)
    show(console, result)
    text = console.export_text()
    for name in NAMES:
        assert f"materialize {name} again" in text
    assert "3 damaged" in text
    home.run()
    assert verify(home.lake.url).damages == []


def test_work_that_comes_out_partly_different_is_made_anew_as_a_whole(home: Home) -> None:
    """A shard that only looks whole beside the others must not end up under the old digest."""
    home.run("words_said")
    folder = folder_of(home, "words_said")
    digest = shards.manifest(str(folder)).digest
    (folder / "words-00001.parquet").unlink()
    # Its neighbour is whole by its record, and is not what the manifest says.
    word = [{"word": "zero", "num_tokens": 5}]
    schema = shards.pa.schema([("word", shards.pa.string()), ("num_tokens", shards.pa.int64())])
    shards.put_table(str(folder), "words", 0, word, schema)
    home.run("words_said")
    assert shards.manifest(str(folder)).digest == digest
