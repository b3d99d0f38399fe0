"""The tables of a tiny lake, published once for all tests of the folder."""

import dataclasses
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.recipe import SMOKE, CorpusRecipe, Source
from snow_assets.tables.assets import PROJECT, tables
from snow_resources.lake import Lake
from snow_resources.publishing import Warehouse
from snow_resources.tracking import Tracking
from tests.tables.builders import a_whole_lake
from tests.tables.lake import RECIPE, TinyLake


def _corpus() -> CorpusRecipe:
    """With the source that the lake has."""
    web = Source(name="web", kind="folder", locations=("/web",), files_per_repository=None)
    return dataclasses.replace(SMOKE.corpus, sources=(web,))


@dataclasses.dataclass(frozen=True)
class Publication:
    """A lake, its warehouse, and a way to materialize the tables of it."""

    lake: TinyLake
    warehouse: Warehouse

    def materialize(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [tables],
            resources={
                "lake": Lake(url=self.lake.url),
                "tracking": Tracking(uri=""),
                "recipe": dataclasses.replace(SMOKE, name=RECIPE, corpus=_corpus()),
                "warehouse": self.warehouse,
            },
            raise_on_error=False,
        )


@pytest.fixture(scope="session")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of every warehouse, beside which dbt has its own: it parses the project once."""
    return tmp_path_factory.mktemp("tables")


def publication(folder: Path, name: str, lake: TinyLake) -> Publication:
    path = str(folder / f"{name}.duckdb")
    return Publication(lake=lake, warehouse=Warehouse(path=path, project=PROJECT))


@pytest.fixture(scope="session")
def whole(tables_folder: Path) -> Publication:
    """A lake with every table, published."""
    made = publication(tables_folder, "whole", a_whole_lake(str(tables_folder / "lake")))
    result = made.materialize()
    assert result.success
    return made
