"""`make compare A=... B=...`: what a changed recipe does to the data, printed and stored."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from snow_assets import definitions
from snow_assets.planning.recipe_comparison import RecipeComparison, compare_recipes
from snow_assets.recipe import Recipe, chosen_recipe
from snow_resources.sql import terminal_table

_MIX_ROWS = 5  # of each kind on the screen; the stored table has more


def show(console: Console, comparison: RecipeComparison) -> None:
    """The stored tables, one under another."""
    date = time.strftime("%Y-%m-%d %H:%M", time.gmtime(comparison.finished))
    console.print(f"{comparison.before} and {comparison.after}, {date} UTC", markup=False)
    titles = {
        "changes": "Documents that enter and leave",
        "score_drift": "Scores of documents that both rank",
        "boundary_files": "Files at the cut: -1 is the last selected, 1 the first that is not",
        "mixes": "Shares of tokens that change the most",
        "duplicates": "Documents dropped as duplicates",
    }
    for name, title in titles.items():
        rows = comparison.tables[name]
        console.print(f"\n{title}")
        console.print(_table(_largest(rows) if name == "mixes" else rows))
    if not comparison.has_subsets:
        console.print("\nNot every high_quality_subset is materialized: no scores, no selection.")
    console.print(f"\nStored in {comparison.folder}", markup=False)


def _largest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    mixes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        mixes.setdefault((row["scope"], row["kind"]), []).append(row)
    return [row for mix in mixes.values() for row in mix[:_MIX_ROWS]]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table | str:
    return terminal_table(list(rows[0]), [list(row.values()) for row in rows]) if rows else "none"


def _recipe(choice: str) -> Recipe:
    os.environ["SNOW_RECIPE"] = choice
    return chosen_recipe()


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 2:
        sys.exit("two recipes are compared: make compare A=SMOKE B=module:VALUE")
    before, after = (_recipe(choice) for choice in arguments)
    lake = definitions.resources(before)["lake"]
    try:
        comparison = compare_recipes(lake, before, after)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    show(Console(highlight=False, width=None if sys.stdout.isatty() else 150), comparison)


if __name__ == "__main__":
    main([argument for argument in sys.argv[1:] if argument])
