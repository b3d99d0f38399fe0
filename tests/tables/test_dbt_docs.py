"""`make dbt-docs-site` writes the tables' documentation, with and without published tables."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snow_assets.home import CHECKOUT
from snow_resources.warehouse import query
from tests.tables.conftest import Publication

pytestmark = pytest.mark.slow


def write_site(home: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The command's output, dbt's manifest and its catalog."""
    done = subprocess.run(
        ["make", "-o", ".venv/ready", "dbt-docs-site", f"SNOW_HOME={home}"],
        cwd=CHECKOUT,
        # Of a make that runs the suite: it would print what it does.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    site = home / "dbt" / "docs"
    assert (site / "index.html").exists()
    manifest, catalog = (
        json.loads((site / f"{name}.json").read_text()) for name in ("manifest", "catalog")
    )
    return done.stdout, manifest, catalog


def test_without_published_tables_the_site_is_written_and_one_line_names_the_remedy(
    tmp_path: Path,
) -> None:
    output, manifest, catalog = write_site(tmp_path)
    [line] = output.splitlines()
    assert "make demo publishes them" in line
    assert "model.snow.document_quality" in manifest["nodes"]
    assert catalog["nodes"] == {}


def test_the_site_shows_the_published_columns_while_a_reader_has_the_file_open(
    whole: Publication, tmp_path: Path
) -> None:
    published = tmp_path / "warehouse.duckdb"
    published.hardlink_to(whole.warehouse.path)
    before = published.stat()
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb; duckdb.connect({str(published)!r}, read_only=True); input()",
        ],
        stdin=subprocess.PIPE,
    )
    try:
        output, manifest, catalog = write_site(tmp_path)
    finally:
        reader.communicate(b"\n", timeout=60)
    assert output == ""
    tables = {name.split(".")[-1]: node for name, node in catalog["nodes"].items()}
    assert set(tables) == {
        name
        for (name,) in query(published, "select table_name from information_schema.tables").rows
    }
    logit = tables["document_quality"]["columns"]["logit"]
    assert logit["type"] == "FLOAT"
    assert (
        logit["comment"]
        == (manifest["nodes"]["model.snow.document_quality"]["columns"]["logit"]["description"])
    )
    assert published.stat().st_mtime_ns == before.st_mtime_ns
