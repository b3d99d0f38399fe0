"""The Stack v3's rows and flat rows, in Parquet and JSONL; broken ones name file and remedy."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.corpus import tables
from snow_assets.corpus.received import Refusal, SourceFile


def read(path: Path, *, inline: bool) -> list[SourceFile | Refusal]:
    units = tables.units([str(path)], inline=inline, languages=("python",), max_file_bytes=1_000)
    return [got for unit in units for got in unit.files(lambda _repository, _path: True)]


def stack_v3_row() -> dict[str, Any]:
    return {
        "repo_path": "owner/name",
        "commit_id": "c0ffee",
        "num_files": 3,
        "files": [
            {"content": "x = 1\n", "file_path": "a.py", "detected_licenses": ["MIT"]},
            {"content": "y = 1\n", "file_path": "b.py", "detected_licenses": []},
            {"content": "hello", "file_path": "README.md", "detected_licenses": ["MIT"]},
        ],
    }


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_a_row_of_the_stack_v3_is_a_repository_with_its_files(name: str, tmp_path: Path) -> None:
    got = read(written(tmp_path / name, [stack_v3_row()]), inline=True)
    assert [
        (file.repository, file.revision, file.path, file.content, file.statement.expression)
        for file in got
        if isinstance(file, SourceFile)
    ] == [
        ("owner/name", "c0ffee", "a.py", b"x = 1\n", "(MIT)"),
        ("owner/name", "c0ffee", "b.py", b"y = 1\n", None),
    ]


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_a_flat_row_is_a_file(name: str, tmp_path: Path) -> None:
    row = {
        "max_stars_repo_name": "o/n", "max_stars_repo_path": "a.py", "content": "x = 1\n",
        "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
    }  # fmt: skip
    (got,) = read(written(tmp_path / name, [row]), inline=False)
    assert isinstance(got, SourceFile)
    assert got.statement.expression == "(Apache-2.0) AND (MIT)"


def test_a_licence_without_an_spdx_name_makes_the_file_unknown(tmp_path: Path) -> None:
    row = {"repo_name": "o/n", "path": "a.py", "content": "x", "license": ["MIT", "other-perm"]}
    (got,) = read(written(tmp_path / "t.jsonl", [row]), inline=False)
    assert isinstance(got, SourceFile)
    assert got.statement.expression is None


def test_null_giant_and_surrogate_contents_are_refused_or_kept_as_bytes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"repo_name": "o/n", "path": "null.py", "content": None, "license": "MIT"},
        {"repo_name": "o/n", "path": "big.py", "content": "x" * 2_000, "license": "MIT"},
        {"repo_name": "o/n", "path": "odd.py", "content": "\ud800", "license": "MIT"},
    ]
    null, big, odd = read(written(tmp_path / "t.jsonl", rows), inline=False)
    assert isinstance(null, Refusal)
    assert null.reason == "no_content"
    assert isinstance(big, Refusal)
    assert big.reason == "too_large"
    assert isinstance(odd, SourceFile)
    with pytest.raises(UnicodeDecodeError):
        odd.content.decode("utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.parquet", b"PAR1 but not really PAR1"), ("t.parquet", b""), ("t.jsonl", b'{"a": 1\n')],
)
def test_a_broken_table_names_the_file_and_the_remedy(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*fetch"):
        read(path, inline=False)


def test_a_parquet_file_with_damage_inside_names_the_file(tmp_path: Path) -> None:
    rows = [{"repo_name": "o/n", "path": f"{n}.py", "content": f"x = {n}" * 50} for n in range(400)]
    path = written(tmp_path / "t.parquet", rows)
    content = bytearray(path.read_bytes())
    content[100:400] = b"\0" * 300
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"t\.parquet"):
        read(path, inline=False)


def test_rows_of_the_wrong_kind_say_which_columns_are_needed(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", [{"text": "x"}])
    with pytest.raises(ValueError, match=r"needs .*repo_name"):
        read(path, inline=False)
    with pytest.raises(ValueError, match="`files`"):
        read(path, inline=True)


def test_a_location_that_is_missing_or_has_no_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not there"):
        read(tmp_path / "missing", inline=False)
    with pytest.raises(ValueError, match="no file ending in"):
        read(tmp_path, inline=False)
