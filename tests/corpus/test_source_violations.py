"""Faults of all sources are told together, before anything is read."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets.corpus.sources import source_violations
from snow_assets.home import CHECKOUT
from snow_assets.recipe import SMOKE, Source, chosen_recipe


def source(name: str, kind: str, location: str) -> Source:
    return Source(name=name, kind=kind, locations=(location,), files_per_repository=None)  # type: ignore[arg-type]


def test_each_source_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    sources = (
        source("installed", "distributions", "attrs"),
        source("absent", "distributions", "no-such-distribution"),
        source("folder", "folder", str(tmp_path / "nowhere")),
        source("archives", "archives", str(tmp_path / "nowhere.zip")),
        source("tables", "rows", str(tmp_path)),
        source("stack", "stack_v3", str(tmp_path / "nowhere.parquet")),
    )
    violations = source_violations(replace(SMOKE.corpus, sources=sources))
    assert [line.split(":")[0] for line in violations] == [
        "source 'absent'",
        "source 'folder'",
        "source 'archives'",
        "source 'tables'",
        "source 'stack'",
    ]
    assert "no-such-distribution" in violations[0]


def test_the_sources_of_smoke_can_be_read() -> None:
    assert source_violations(SMOKE.corpus) == []


def test_the_demo_starts_nothing_and_ends_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "broken_recipe.py").write_text(
        "from dataclasses import replace\n"
        "from snow_assets.recipe import SMOKE, chosen_recipe\n"
        "source = replace(SMOKE.corpus.sources[0], name='gone', locations=('not-there',))\n"
        "sources = (*SMOKE.corpus.sources, source)\n"
        "RECIPE = replace(SMOKE, corpus=replace(SMOKE.corpus, sources=sources))\n"
    )
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "SNOW_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "SNOW_RECIPE": "broken_recipe:RECIPE",
        "PYTHONPATH": f"{tmp_path}:{CHECKOUT}",
    }
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "snow_assets.cli.demo"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1, process.stderr[-2000:]
    assert "Nothing was started" in process.stdout
    shown = " ".join(process.stdout.split())
    _, _, last = shown.partition("Nothing was started: ")
    assert last.startswith("source 'gone': the recipe names the distribution 'not-there'")
    assert last.endswith("remove it from the recipe's sources or exemplars")
    assert not (home / "lake").exists()


def test_a_licence_that_spdx_does_not_list_is_named_before_anything_is_read() -> None:
    recipe = replace(SMOKE.corpus, permissive_licenses=("mit", "BSD-3-Klausel"))
    (violation,) = source_violations(recipe)
    assert "'BSD-3-Klausel' is not on SPDX's list" in violation


def test_a_recipe_s_module_that_is_not_found_is_named_with_pythonpath(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SNOW_RECIPE", "no_such_recipes:MINE")
    with pytest.raises(ValueError, match="there is no module 'no_such_recipes'; PYTHONPATH"):
        chosen_recipe()
