"""Hostile inputs, the same at every run: files, manifests, notebooks, rows and archives."""

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.corpus.builders import MIT

GOOD = b"def add(first, second):\n    return first + second\n"
GOOD_ROW = {"repo_name": "good/rows", "path": "ok.py", "content": GOOD.decode(), "license": "MIT"}

_DEEP, _LONG = 20_000, 60_000
TEXTS: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\n" * _LONG,
    b"\r" * _LONG,
    b"\0" * 100,
    b"\xff\xfe" + "x = 1\n".encode("utf-16-le"),
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbf{}",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
    b"\x80" * 500,
    b"[" * _DEEP,
    b"{" * _DEEP,
    b"(" * _DEEP,
    b'{"a":' * _DEEP,
    b"[" * _DEEP + b"]" * _DEEP,
    b"9" * 5_000,
    b'{"n": ' + b"9" * 5_000 + b"}",
    b"-" * _DEEP,
    b"1e999999",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"3",
    b'"text"',
    b"[]",
    b"{}",
    b"[null]",
    b'{"": null}',
    b'{"a": 1, "a": 2}',
    b'"\\ud800"',
    b'{"license": "\\udfff"}',
    b'{"license": {"type": ["MIT"]}}',
    b'{"license": 7}',
    b'{"license": null, "licenses": [{"type": 3}]}',
    b'{"license": "' + b"(" * 3_000 + b'MIT"}',
    b'{"license": "' + b"(MIT OR ISC) AND " * 200 + b'MIT"}',
    b'{"name": ["x"], "repository": 4}',
    b'{"repository": {"url": {"url": 1}}}',
    b"a." * _DEEP + b"b = 1\n",
    b'"a"."a".' * 5_000 + b"b=1\n",
    b"a = [" * _DEEP,
    b"a = {b = " * 5_000,
    b"[a]\n[a]\n",
    b"[[a]]\n[a]\n",
    b"[project]\nlicense = 3\n",
    b"[project]\nlicense = {file = 3}\n",
    b"[project.urls]\na = 1\n",
    b"project = 3\n",
    b"tool = []\n",
    b"[package]\nlicense = {workspace = true}\n",
    b"[workspace]\npackage = 1\n",
    b"[tool]\npoetry = 2\n",
    b"a = 1979-99-99\n",
    b"a = '''" + b"x" * _LONG,
    b"a = " + b"9" * 5_000,
    b"License: " + b"x" * _LONG,
    b"License\n : MIT\n\n",
    b"Classifier: License ::\n" * 3_000,
    b"Name: \xff\xfe\n\n",
    b": \n" * 1_000,
    b"# SPDX-License-Identifier: " + b"(" * 3_000,
    b"# SPDX-License-Identifier: " + b"MIT AND " * 500,
    b"# SPDX-License-Identifier: " + b"(MIT OR ISC) AND " * 220 + b"MIT\n",
    b"# SPDX-License-Identifier: \xff\n",
    b"# SPDX-License-Identifier: MIT WITH\n",
    b"Permission is hereby granted " * 3_000,
    b"/*" * _DEEP,
    b'"' * _LONG,
    b"'" * _LONG,
    b"`" * _LONG,
    b"\\" * _LONG,
    b"<!-- -->" * 5_000,
    b"#!" + b"/" * _LONG,
    b"#!/usr/bin/env " + b"-S " * 5_000,
    b"a" * _LONG,
    b"A=" * 20_000,
    b"@" * _LONG,
    b"a@" * 20_000,
    b"a@b." * 10_000,
    b"0x" * 20_000,
    b"\\u0041" * 9_000,
    b"-----BEGIN PRIVATE KEY-----\n" * 2_000,
    b"key = '" + b"A" * _LONG,
    b"password=" * 6_000,
    b"eyJ" * 15_000,
    b"x = " + b"1+" * 20_000 + b"1\n",
    b"lambda:" * 8_000 + b"0\n",
    b"if 1:\n" + b" " * _LONG,
    b"\t" * _LONG + b"x\n",
    b"\x0c" * _LONG,
    b"\x1b[2J" * 5_000,
    "\u2028".encode() * 9_000,
    "\u202e".encode() * 9_000,
    "e\u0301".encode() * 9_000,
    b"f'{" * 10_000,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"\x1f\x8b\x08\0",
    b"PK\x03\x04",
)  # each is a file, a manifest, a notebook and a line of a table

MANIFEST_NAMES = (
    "package.json",
    "pyproject.toml",
    "Cargo.toml",
    "PKG-INFO",
    "METADATA",
    "LICENSE",
    "COPYING",
    "REUSE.toml",
    "ok.py.license",
)
SOURCE_NAMES = ("a.py", "a.h", "a.js", "a.ts", "a.tsx", "a.cs", "a.sql", "a.c")
LANGUAGES = ("c", "cpp", "csharp", "javascript", "jupyter", "python", "sql", "typescript")
_PYTHON = {"kernelspec": {"name": "python3", "language": "python"}}


def notebooks() -> Iterator[bytes]:
    """Notebooks of odd shapes, beside TEXTS as notebooks."""
    yield from TEXTS
    values: list[Any] = [
        None,
        3,
        "x",
        [],
        {},
        [None],
        [3],
        [[]],
        {"a": 1},
        True,
        "\ud800",
        "\0",
        1.5,
    ]
    for value in values:
        yield _notebook(value)
        yield _notebook([{"cell_type": "code", "source": value}])
        yield _notebook([{"cell_type": value, "source": "x = 1"}])
        yield _notebook([{"cell_type": "code", "source": "x = 1"}], metadata=value)
        yield _notebook([{"cell_type": "code", "source": "x = 1"}], metadata={"kernelspec": value})
        yield json.dumps({"nbformat": value, "worksheets": value}).encode()
    for source in (
        "%" * 5_000,
        "!" * 5_000,
        "?" * 5_000,
        "%%bash\n",
        "%%",
        "!\\\n" * 5_000,
        "(" * 5_000,
    ):
        yield _notebook([{"cell_type": "code", "source": source}])
    yield _notebook([{"cell_type": "code", "source": "x = 1"}] * 3_000)


def _notebook(cells: Any, *, metadata: Any = None) -> bytes:
    content = {"nbformat": 4, "metadata": _PYTHON if metadata is None else metadata, "cells": cells}
    return json.dumps(content).encode()


def folder(root: Path) -> int:
    """A folder of repositories; returns how many source files are in it."""
    kept = root / "kept"
    count = 0
    for number, text in enumerate(TEXTS):
        for name in SOURCE_NAMES[number % 2 :: 2]:
            count += _file(kept / f"d{number}" / name, text)
        for name in MANIFEST_NAMES[number % 3 :: 3]:
            repository = root / f"m{number}-{name}"
            _file(repository / name, text)
            count += _file(repository / "ok.py", GOOD)
    for number, content in enumerate(notebooks()):
        count += _file(kept / f"n{number}.ipynb", content)
    for number, name in enumerate(
        (b"\xff.py", b"a\nb.py", b"\x1b[2J.py", b" .py", b"a'\"<&>.py", b"%00.py")
    ):
        path = kept / f"names{number}" / os.fsdecode(name)
        count += _file(path, GOOD)
    os.mkfifo(kept / "pipe.py")
    (kept / "loop.py").symlink_to("loop.py")
    (kept / "passwords.py").symlink_to("/etc/passwd")
    _file(kept / "LICENSE", MIT.encode())
    return count + 3


def _file(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return 1


def json_lines(path: Path, *, inline: bool) -> int:
    """A table whose lines are odd, good ones among them; returns how many are not blank."""
    good = dict(GOOD_ROW)
    if inline:
        good = {"repo_path": "good/rows", "files": [GOOD_ROW | {"file_path": "ok.py"}]}  # type: ignore[dict-item]
    lines = [text.replace(b"\n", b" ").replace(b"\r", b" ") for text in TEXTS]
    values: list[Any] = [
        None,
        3,
        [],
        {},
        [None],
        "\ud800",
        "\0",
        1.5,
        True,
        "x" * 5_000,
        "\x1b[2J",
        "",
    ]
    for name in good:
        lines += [json.dumps({**good, name: value}).encode() for value in values]
    if inline:
        lines += [json.dumps({**good, "files": [value]}).encode() for value in values]
    lines = [line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()]
    lines[0:0] = [json.dumps(good).encode()]
    content = b"\n\n".join([*lines, json.dumps(good | {"commit_id": "2"}).encode()])
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return len(lines) + 1


def parquet_files(root: Path, *, count: int) -> int:
    """Tables with bytes changed here and there, of odd types, and one that is sound."""
    root.mkdir(parents=True, exist_ok=True)
    chance = random.Random(1)
    rows = [GOOD_ROW | {"path": f"f{number}.py"} for number in range(12)]
    pq.write_table(pa.Table.from_pylist(rows), root / "a-sound.parquet", row_group_size=4)
    sound = (root / "a-sound.parquet").read_bytes()
    for number in range(count):
        (root / f"m{number:03d}.parquet").write_bytes(_mutated(sound, chance))
    for number, kind in enumerate(
        (pa.int64(), pa.bool_(), pa.list_(pa.int64()), pa.null(), pa.binary())
    ):
        table = pa.table({name: pa.array([None], kind) for name in GOOD_ROW})
        pq.write_table(table, root / f"t{number}.parquet")
    invalid = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table(dict.fromkeys(GOOD_ROW, invalid)), root / "utf8.parquet")
    return count + 7


def archives(root: Path, *, count: int) -> int:
    """Archives with bytes changed here and there, and crafted ones; returns how many there are."""
    root.mkdir(parents=True, exist_ok=True)
    chance = random.Random(2)
    members = [("LICENSE", MIT.encode()), *((f"f{number}.py", GOOD) for number in range(5))]
    made = {
        "zip": _zip(members),
        "tar": _tar(members),
        "tar.gz": gzip.compress(_tar(members), mtime=0),
    }
    for number in range(count):
        kind = ("zip", "tar", "tar.gz")[number % 3]
        (root / f"m{number:03d}-1.0.{kind}").write_bytes(_mutated(made[kind], chance))
    for number, text in enumerate(TEXTS[::4]):
        (root / f"t{number:03d}.{('zip', 'tar', 'tgz', 'whl')[number % 4]}").write_bytes(text)
    for number, name in enumerate(
        ("../a.py", "/a.py", "a\\..\\b.py", "C:\\a.py", "\x1b.py", "a\0.py", "x" * 300)
    ):
        (root / f"n{number}.zip").write_bytes(_zip([(name, GOOD), ("LICENSE", MIT.encode())]))
    for number in range(
        40
    ):  # headers of every kind that tarfile knows, with sizes and numbers that are none
        (root / f"h{number:02d}.tar").write_bytes(_header(chance) + _tar(members))
    for name in ("pipe.zip", "pipe.tar.gz"):
        os.mkfifo(root / name)
    (root / "sound-1.0.zip").write_bytes(made["zip"])
    return len(list(root.iterdir()))


def _mutated(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, and sometimes the end cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 40))):
        changed[chance.randrange(len(changed))] = chance.choice((0, 0xFF, chance.randrange(256)))
    return bytes(
        changed[: chance.randrange(len(changed)) if chance.random() < 0.2 else len(changed)]
    )


def _header(chance: random.Random) -> bytes:
    info = tarfile.TarInfo("h.py")
    info.type = chance.choice((b"S", b"L", b"K", b"x", b"g", b"0", b"7", b"X", b"V", b"D"))
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for start, end in ((124, 136), (386, 398), (482, 483), (483, 495)):
        if chance.random() < 0.5:
            header[start:end] = bytes(
                chance.choice((0, 0x80, 0xFF, 0x37)) for _ in range(end - start)
            )
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _zip(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _tar(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()
