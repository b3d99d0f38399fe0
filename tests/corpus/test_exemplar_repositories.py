"""Repositories of the annotator's positives stay outside of the corpus."""

from dataclasses import replace
from pathlib import Path

from snow_assets.corpus.exemplar_repositories import exemplar_repositories, matching_exemplars
from snow_assets.recipe import SMOKE, ExemplarRecipe
from tests.corpus.builders import a_recipe, a_repository, a_source

(DISTRIBUTIONS,) = SMOKE.exemplars.file_groups


def test_repositories_of_every_kind_of_source_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        a_repository(tmp_path / "good" / name, {"a.py": f"x = '{name}'\n"})
    for name in ("two", "three"):
        a_repository(tmp_path / "code" / name, {"a.py": f"x = '{name}'\n"})
    folder = replace(DISTRIBUTIONS, source=a_source(tmp_path / "good", kind="folder"))
    recipe = ExemplarRecipe(groups=(DISTRIBUTIONS, folder))
    source = a_source(tmp_path / "code", kind="folder")
    corpus = a_recipe(source)
    names = exemplar_repositories(recipe, corpus)
    assert {"one", "two", "attrs", "more-itertools", "sortedcontainers"} <= names
    # What the source does not hold decides nothing about it.
    assert matching_exemplars(source, recipe, corpus) == [*DISTRIBUTIONS.source.locations, "two"]
