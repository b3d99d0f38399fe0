"""What tests of this folder share: a lake and an annotator, made once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from snow_assets.recipe import AnnotatorRecipe
from tests.quality.builders import a_lake, a_recipe, an_annotator, an_encoder


@dataclass(frozen=True)
class Made:
    lake: str
    clean: dict[str, str]
    recipe: AnnotatorRecipe
    examples: str
    annotator: str
    scoring_round: str | None = None


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny matrices on two threads mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("quality")
    lake = str(root / "lake")
    recipe = a_recipe(an_encoder(root / "encoder"))
    clean = a_lake(lake)
    annotator = an_annotator(lake, clean, recipe)
    return Made(lake, clean, recipe, f"{lake}/annotator_examples/all/{'0' * 32}", annotator)


@pytest.fixture
def made(_made_once: Made, tmp_path: Path) -> Iterator[Made]:
    """A copy of the lake that a test may change."""
    lake = str(tmp_path / "lake")
    shutil.copytree(_made_once.lake, lake)
    moved = {name: url.replace(_made_once.lake, lake) for name, url in _made_once.clean.items()}
    yield Made(
        lake,
        moved,
        _made_once.recipe,
        _made_once.examples.replace(_made_once.lake, lake),
        _made_once.annotator.replace(_made_once.lake, lake),
    )
