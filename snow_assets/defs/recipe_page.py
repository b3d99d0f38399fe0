"""The recipe as an asset in Dagster's UI: every value that the code location was loaded with."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import dagster as dg

from snow_assets.recipe import FilePositives, Recipe, RowPositives, Source

ASSET = "recipe"
_MAX_SHOWN_CHARS = 300


def recipe_spec(recipe: Recipe) -> dg.AssetSpec:
    """An external asset whose description is the table of the recipe's values."""
    return dg.AssetSpec(
        ASSET,
        group_name=ASSET,
        description=markdown(recipe),
        metadata={"recipe": recipe.name, "num_sources": len(recipe.corpus.sources)},
    )


def markdown(recipe: Recipe) -> str:
    """Markdown with the recipe's name, and a table of fields and values per section."""
    lines = [
        f"The recipe **{recipe.name}**, which `SNOW_RECIPE` chose when this code location was "
        "loaded. `docs/recipe.md` says where each value comes from."
    ]
    for field in fields(recipe):
        section = getattr(recipe, field.name)
        if is_dataclass(section):
            lines += ["", f"### {field.name}", "", "| value | |", "|---|---|"]
            lines += [f"| `{path}` | {_cell(value)} |" for path, value in leaves(section)]
    return "\n".join(lines)


def leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a dataclass and its nested dataclasses, with their dotted paths."""
    for field in fields(section):
        value, path = getattr(section, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield from leaves(value, f"{path}.")
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for item in value:
                is_named = isinstance(item, Source | FilePositives | RowPositives)
                name = item.name if is_named else str(value.index(item))
                yield from leaves(item, f"{path}[{name}].")
        else:
            yield path, value


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    if len(text) > _MAX_SHOWN_CHARS:
        text = f"{text[:_MAX_SHOWN_CHARS]}..."
    return text.replace("|", "\\|").replace("<", "&lt;")
