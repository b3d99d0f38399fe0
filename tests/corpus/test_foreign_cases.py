"""Inputs of public bug reports, read from a source to documents: what is kept, and why not."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from snow_assets.corpus.ingest import ingest
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_rows import Gate
from snow_assets.curation.prepare import prepare_shard
from snow_assets.recipe import Source
from snow_assets.storage import shards
from tests.artifacts import finish
from tests.corpus.builders import CASES, OPEN_GATE, a_recipe, a_source

LANGUAGES = ("c", "cpp", "csharp", "javascript", "jupyter", "python", "sql", "typescript")


def curated(
    folder: Path,
    location: Path,
    kind: Literal["folder", "archives", "rows"],
    gate: Gate = OPEN_GATE,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Documents by repository and path, and the reasons of drops at ingest and after it."""
    source = a_source(location, kind=kind)
    recipe = a_recipe(source, max_file_bytes=200_000, shard_bytes=400_000)
    stats = ingest(str(folder), source, recipe=recipe, languages=LANGUAGES, gate=gate)
    finish(str(folder), stats=stats)
    made = prepare_shard(shards.read(str(folder), "files"), languages=LANGUAGES, with_parses=True)
    drops = [*shards.read(str(folder), "drops").to_pylist(), *made.drops.to_pylist()]
    return _by_name(made.documents.to_pylist()), {
        name: row["reason"] for name, row in _by_name(drops).items()
    }


def _by_name(rows: list[dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    return {f"{row['repository']}/{row['path']}": row for row in rows}


def test_01_a_form_feed_in_a_string_of_a_cell_stays_in_its_line(tmp_path: Path) -> None:
    documents, _ = curated(tmp_path, CASES / "01-notebook-form-feed" / "src", "folder")
    text = documents["lib/pages.ipynb"]["text"]
    ast.parse(text)
    assert "'first\fsecond'" in text
    assert "'one\u2028two'" in text


def test_02_shell_commands_of_a_notebook_become_comments(tmp_path: Path) -> None:
    documents, _ = curated(tmp_path, CASES / "02-notebook-shell-continuation" / "src", "folder")
    text = documents["lib/setup.ipynb"]["text"]
    ast.parse(text)
    assert "# names = !ls data" in text


def test_05_the_kernels_name_decides_the_language(tmp_path: Path) -> None:
    documents, reasons = curated(tmp_path, CASES / "05-notebook-kernel-by-name" / "src", "folder")
    assert documents == {}
    assert reasons == {
        "lib/means.ipynb": "invalid_notebook",
        "lib/square.ipynb": "invalid_notebook",
    }


def test_06_a_huge_integer_costs_its_notebook_only(tmp_path: Path) -> None:
    documents, reasons = curated(tmp_path, CASES / "06-notebook-huge-integer" / "src", "folder")
    assert list(documents) == ["lib/ok.py"]
    assert reasons == {"lib/big.ipynb": "invalid_notebook"}


def test_08_a_zip_of_windows_finds_its_licence(tmp_path: Path) -> None:
    location = CASES / "08-zip-backslashes" / "archives"
    documents, reasons = curated(tmp_path, location, "archives")
    assert {name: row["license"] for name, row in documents.items()} == {"tool/src/main.py": "MIT"}
    assert reasons == {}


def test_09_an_opt_out_is_found_in_a_name_with_digits(tmp_path: Path) -> None:
    location = CASES / "09-archive-name-with-digit"
    entry = canonical((location / "opt_outs.txt").read_text())
    gate = Gate(opted_out=frozenset({entry}), exemplars=frozenset())
    documents, reasons = curated(tmp_path, location / "archives", "archives", gate)
    assert list(documents) == ["angular-4-tables/store.js"]
    assert reasons == {"angular-2-storage/": "opted_out"}


def test_13_pointers_of_git_lfs_are_no_code(tmp_path: Path) -> None:
    documents, reasons = curated(tmp_path, CASES / "13-lfs-pointer" / "src", "folder")
    assert documents == {}
    assert set(reasons.values()) == {"lfs_pointer"}
    assert len(reasons) == 3


def test_14_data_in_xml_is_no_typescript(tmp_path: Path) -> None:
    documents, reasons = curated(tmp_path, CASES / "14-tiled-tileset-tsx" / "src", "folder")
    assert documents == {}
    assert set(reasons.values()) == {"language_not_in_recipe"}


def test_15_prose_in_a_comment_makes_no_cpp_of_a_c_header(tmp_path: Path) -> None:
    documents, _ = curated(tmp_path, CASES / "15-c-header-prose" / "src", "folder")
    assert documents["lib/ring.h"]["language"] == "c"


def test_17_old_macintosh_line_ends_do_not_make_a_file_minified(tmp_path: Path) -> None:
    documents, _ = curated(tmp_path, CASES / "17-cr-only-lines" / "src", "folder")
    mac, unix = documents["lib/mac.js"], documents["lf/unix.js"]
    assert not mac["is_generated"]
    assert not documents["lf/unix.py"]["is_generated"]
    assert (mac["num_lines"], mac["language"]) == (unix["num_lines"], "javascript")


def test_65_an_empty_line_or_a_byte_order_mark_ends_no_table(tmp_path: Path) -> None:
    documents, reasons = curated(tmp_path, CASES / "65-blank-line-jsonl" / "inside.jsonl", "rows")
    assert sorted(documents) == ["o/r/a.py", "o/r/b.py"]
    assert reasons == {}


@pytest.mark.parametrize("name", ["a...b", "données", "v²", ".hidden", "..", ".a-b"])
def test_74_a_source_name_that_begins_with_a_dot_is_refused(name: str) -> None:
    if not name.startswith("."):
        assert Source(name=name, kind="rows", locations=("x",), files_per_repository=None)
        return
    with pytest.raises(ValueError, match="Source"):
        Source(name=name, kind="rows", locations=("x",), files_per_repository=None)
