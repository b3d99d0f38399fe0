"""Installed distributions are repositories: their name, version, RECORD and licence."""

import importlib.metadata
import platform

import pytest

from snow_assets.corpus import distributions
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_units import SourceFile, Unit
from snow_assets.recipe import SMOKE

EVERY = ("c", "cpp", "javascript", "python", "sql")


def units(*locations: str) -> list[Unit]:
    return list(distributions.units(locations, languages=EVERY, max_file_bytes=1_000_000))


def files(unit: Unit) -> list[SourceFile]:
    return [
        got for got in unit.files(lambda _repository, _path: True) if isinstance(got, SourceFile)
    ]


def unit_licenses(unit: Unit, path: str) -> set[str | None]:
    found = unit.files(lambda _repository, name: name == path)
    return {got.statement.expression for got in found if isinstance(got, SourceFile)}


def test_a_distribution_that_is_not_installed_is_named_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"'no-such-thing'.*install it .* or remove it"):
        units("packaging", "no-such-thing")


def test_a_distribution_has_its_version_and_licence() -> None:
    (unit,) = units("Packaging")
    first = files(unit)[0]
    assert first.repository == unit.name == "packaging"
    assert first.revision == importlib.metadata.version("packaging")
    assert first.statement.expression == "Apache-2.0 OR BSD-2-Clause"


def test_a_folder_of_a_distribution_takes_only_that_folder() -> None:
    (unit,) = units("packaging:packaging/licenses")
    paths = [path for _, path in unit.listing()]
    assert paths
    assert all(path.startswith("packaging/licenses/") for path in paths)


def test_the_standard_library_is_cpython_at_the_running_version() -> None:
    (unit,) = units("stdlib")
    paths = [path for _, path in unit.listing()]
    assert "Lib/json/decoder.py" in paths
    assert not [path for path in paths if "site-packages" in path or path.startswith("Lib/test/")]
    assert unit_licenses(unit, "Lib/json/decoder.py") == {"Python-2.0"}
    assert distributions.snapshot(["stdlib"]) == {"stdlib": platform.python_version()}


def test_listings_go_in_the_same_order_every_time_and_name_nothing_outside() -> None:
    first, again = [list(unit.listing()) for _ in range(2) for unit in units("greenlet")]
    assert first == again == sorted(first)
    assert not [path for _, path in first if ".." in path]


def test_every_distribution_of_the_smoke_recipe_is_installed_and_no_exemplar_is_among_them() -> (
    None
):
    named = [location for source in SMOKE.corpus.sources for location in source.locations]
    repositories = set(distributions.snapshot(named))
    (positives,) = SMOKE.exemplars.file_groups
    exemplars = {canonical(name) for name in positives.source.locations}
    assert len(repositories) >= 20
    assert len(exemplars) == 3
    assert not repositories & exemplars
    distributions.snapshot(positives.source.locations)
