"""The recipe's document says what the recipe says."""

import re
from pathlib import Path
from typing import Any

import pytest

from snow_assets.recipe import ARCTIC, SMOKE

DOC = Path(__file__).resolve().parent.parent / "docs" / "recipe.md"
ROW = re.compile(
    r"^\|[^|]*\|[^|]*\| `([a-z0-9_.\[\]]+)` \| ([^|]*) \| ([^|]*) \| `[^`]+` \|$", re.M
)


def shown(value: Any) -> str:
    """A number as the document writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return " ".join(shown(each) for each in value)
    return str(value)


def value_of(recipe: Any, field: str) -> Any:
    """The value of `curation.seed`; `phases[general]` is the phase of that name."""
    value = recipe
    for part in field.split("."):
        name, _, item = part.removesuffix("]").partition("[")
        value = getattr(value, name)
        value = next(each for each in value if each.name == item) if item else value
    return value


@pytest.mark.parametrize("row", ROW.findall(DOC.read_text()), ids=lambda row: row[0])
def test_a_row_of_the_document_is_what_the_recipes_say(row: tuple[str, str, str]) -> None:
    field, *written = row
    assert written == [shown(value_of(ARCTIC, field)), shown(value_of(SMOKE, field))]


def test_the_document_has_its_rows() -> None:
    assert len(ROW.findall(DOC.read_text())) > 60
