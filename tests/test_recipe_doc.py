"""The recipe's document says what the recipe says."""

import dataclasses
import re
from collections.abc import Iterator
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


def fields_of(section: Any, path: str) -> Iterator[str]:
    """The paths of a section's fields; `phases[general]` is the phase of that name."""
    for field in dataclasses.fields(section):
        value, name = getattr(section, field.name), f"{path}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, name)
        elif field.name == "phases":
            for phase in value:
                yield from fields_of(phase, f"{name}[{phase.name}]")
        else:
            yield name


# Described by tables and text of their own: sources, positives and grades; a licence's terms; and
# the names of phases and of what they read, which are the graph itself.
DESCRIBED_APART = re.compile(
    r"corpus\.sources|exemplars\.groups|annotator\.grades|synthesis\.model_terms"
    r"|pretraining\.phases\[\w+\]\.(name|data|parent)"
)
SECTIONS = [
    field.name
    for field in dataclasses.fields(ARCTIC)
    if dataclasses.is_dataclass(getattr(ARCTIC, field.name))
]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_a_section_has_a_row(section: str) -> None:
    fields = set(fields_of(getattr(ARCTIC, section), section))
    rows = {field for field, *_ in ROW.findall(DOC.read_text())}
    assert {field for field in fields if not DESCRIBED_APART.fullmatch(field)} - rows == set()
