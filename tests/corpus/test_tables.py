"""The Stack v3's rows and flat rows, in Parquet and JSONL; broken ones name file and remedy."""

import gzip
import json
import os
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.corpus import tables
from snow_assets.corpus.source_units import Refusal, SourceFile
from tests.corpus.builders import CASES, LIMITS


def read(path: Path, *, inline: bool) -> list[SourceFile | Refusal]:
    units = tables.units(
        [str(path)], inline=inline, languages=("python",), max_file_bytes=1_000, limits=LIMITS
    )
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
        "max_stars_repo_name": "o/n",
        "max_stars_repo_path": "a.py",
        "content": "x = 1\n",
        "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
    }
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


def refused(path: Path, *, inline: bool = False) -> list[tuple[str, str]]:
    """Where each refusal stands, and its reason."""
    received = read(path, inline=inline)
    return [(row.path, row.reason) for row in received if isinstance(row, Refusal)]


def num_files(path: Path, *, inline: bool = False) -> int:
    return sum(isinstance(row, SourceFile) for row in read(path, inline=inline))


GOOD_LINE = b'{"repo_name": "o/n", "path": "a.py", "content": "x = 1", "license": "MIT"}\n'


@pytest.mark.parametrize(
    "content",
    [b"PAR1 but not really PAR1", b"", b"PAR1" + b"\xff" * 64 + b"PAR1", b"\0" * 100_000],
)
def test_a_broken_parquet_file_is_a_refusal_that_names_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    (refusal,) = read(path, inline=False)
    assert isinstance(refusal, Refusal)
    assert (refusal.repository, refusal.reason) == (str(path), "table_broken")


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1\n',
        b"[1]\n",
        b"null\n",
        b"3\n",
        b'"text"\n',
        b"{]\n",
        b"\xff\xfe{\n",
        b"\0\n",
        b"1" * 5_000 + b"\n",
        b'{"n": ' + b"9" * 5_000 + b"}\n",
        b"[" * 200_000 + b"\n",
        b'{"a":' * 100_000 + b"\n",
    ],
)
def test_a_damaged_line_is_refused_by_its_number_and_the_rest_is_read(
    line: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(GOOD_LINE + line + GOOD_LINE)
    assert refused(path) == [("line 2", "unreadable_row")]
    assert num_files(path) == 2


@pytest.mark.parametrize(("name", "count"), [("trailing", 1), ("inside", 2), ("bom", 1)])
def test_blank_lines_and_a_byte_order_mark_are_no_rows(name: str, count: int) -> None:
    path = CASES / "65-blank-line-jsonl" / f"{name}.jsonl"
    assert refused(path) == []
    assert num_files(path) == count


@pytest.mark.parametrize(
    "row",
    [
        '{"repo_name": 7, "path": "a.py", "content": "x"}',
        '{"repo_name": "o/n", "path": ["a.py"], "content": "x"}',
        '{"repo_name": "o/n", "path": "a.py", "content": {"a": 1}}',
        '{"repo_name": "o/n", "path": "a.py", "content": 3}',
        '{"repo_name": "o/n", "path": "a.py", "content": "x", "license": 5}',
        '{"repo_name": "o/n", "path": "a.py", "content": "x", "license": [null, {}]}',
        '{"repo_name": "o/n", "path": "a.py", "content": "x", "commit_id": 1e400}',
        '{"repo_name": null, "path": "a.py", "content": "x"}',
        '{"repo_name": "", "path": "a.py", "content": "x"}',
        '{"repo_name": "o/n", "path": null, "content": "x"}',
    ],
)
def test_columns_of_unexpected_types_cost_their_row_only(row: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(GOOD_LINE + row.encode() + b"\n" + GOOD_LINE)
    received = read(path, inline=False)
    assert len(received) == 3
    admitted = [row for row in received if isinstance(row, SourceFile) and row.statement.expression]
    assert len(admitted) == 2


@pytest.mark.parametrize(
    "files", ["null", "3", "[null]", "[3]", '[{"file_path": 3}]', "[[]]", '{"a": 1}']
)
def test_odd_lists_of_files_are_refused_and_the_next_repository_is_read(
    files: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    odd = '{"repo_path": "o/n", "files": ' + files + "}\n"
    path.write_text(odd + json.dumps(stack_v3_row()) + "\n")
    (refusal,) = refused(path, inline=True)
    assert refusal[0].startswith("line 1")
    assert num_files(path, inline=True) == 2


def test_a_line_longer_than_a_row_may_be_is_refused_without_keeping_it(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(GOOD_LINE + b'{"a": "' + b"x" * 3_000_000 + b'"}\n' + GOOD_LINE)
    assert refused(path) == [("line 2", "row_too_large")]
    assert num_files(path) == 2


def test_a_compressed_table_that_unpacks_to_too_much_is_refused_from_there(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD_LINE * 3 + b"\n" * (LIMITS.max_bytes + 1)))
    ((position, reason),) = refused(path)
    assert (position.startswith("from line"), reason) == (True, "table_bomb")
    assert num_files(path) == 3


@pytest.mark.parametrize("end", [0.2, 0.6, 0.95])
def test_a_compressed_table_that_is_cut_off_is_refused_from_there(
    end: float, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl.gz"
    content = gzip.compress(b"".join(GOOD_LINE.replace(b"1", b"%d" % n) for n in range(2_000)))
    path.write_bytes(content[: int(end * len(content))])
    assert [reason for _, reason in refused(path)] == ["table_broken"]


def test_of_a_parquet_file_with_damage_inside_the_sound_row_groups_are_read(
    tmp_path: Path,
) -> None:
    rows = [{"repo_name": "o/n", "path": f"{n}.py", "content": f"x = {n}" * 50} for n in range(400)]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)
    content = bytearray(path.read_bytes())
    content[100:400] = b"\0" * 300
    path.write_bytes(bytes(content))
    assert refused(path) == [("rows 0 to 99", "table_broken")]
    assert num_files(path) == 300


@pytest.mark.parametrize("column", ["repo_name", "path", "content", "license"])
def test_a_parquet_text_that_is_not_utf8_costs_its_row_at_most(column: str, tmp_path: Path) -> None:
    rows = [
        {"repo_name": "o/n", "path": f"{n}.py", "content": "x", "license": "MIT"} for n in range(3)
    ]
    texts = {name: [row[name].encode() for row in rows] for name in rows[0]}
    texts[column][1] = b"\xff\xfe"
    arrays = [pa.array(values, pa.binary()).view(pa.string()) for values in texts.values()]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays(arrays, list(texts)), path)
    received = read(path, inline=False)
    assert len(received) == 3
    sound = [
        row
        for row in received
        if isinstance(row, SourceFile) and row.content == b"x" and row.statement.expression
    ]
    assert len(sound) == 2


def test_parquet_columns_of_unexpected_types_are_refused_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"repo_name": ["o/n"], "path": ["a.py"], "content": [[1, 2]], "license": [3]})
    pq.write_table(table, path)
    assert refused(path) == [("a.py", "no_content")]


@pytest.mark.parametrize("inline", [True, False])
def test_rows_of_the_wrong_kind_say_which_columns_are_needed(inline: bool, tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", [{"text": "x"}])
    (refusal,) = read(path, inline=inline)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "missing_columns"
    assert "needs one of ('repo_path', 'repo_name'" in str(refusal.evidence)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.parquet"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "dangling link"])
def test_what_is_no_file_is_refused_and_never_opened(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
        (path / name).write_bytes(b"")
        (tmp_path / "in" / f"b{name}").symlink_to(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    reasons = {reason for _, reason in refused(path.parent)}
    assert reasons <= {"not_a_file", "table_broken"}
    if kind != "folder":
        assert refused(path.parent) == [("", "not_a_file")]


def test_a_location_that_is_missing_or_has_no_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not there"):
        read(tmp_path / "missing", inline=False)
    with pytest.raises(ValueError, match="no file ending in"):
        read(tmp_path, inline=False)
