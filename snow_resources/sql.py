"""Query the published tables from a terminal: `python -m snow_resources.sql "select ..."`.

The tables are this installation's, or with `--lake URL` the current ones that a recipe published to
an object store; each query then reads the version that is current at that time.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from snow_resources.warehouse import TABLES, WarehouseError, query

_MAX_ROWS = 200

Locate = Callable[[], Path]
"""Returns the local path of the tables that are current now."""


def terminal_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None
) -> Table:
    """Rows as a table on a terminal, columns of numbers on the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, name in enumerate(columns):
        is_number = all(isinstance(row[index], int | float | None) for row in rows)
        # Text: neither names nor content of the corpus may be read as rich's markup.
        table.add_column(
            Text(printable(name)), justify="right" if is_number else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _print_result(locate: Locate, sql: str) -> None:
    answer = query(locate(), sql, rows=_MAX_ROWS)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(terminal_table(answer.columns, answer.rows))
    if answer.is_truncated:
        console.print(f"The first {_MAX_ROWS} rows; add a `limit` or an aggregate to see others.")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value))


def printable(text: str) -> str:
    """Replace each control character, which a terminal would interpret, by a dot."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "·" for letter in text)


def _prompt(locate: Locate) -> None:
    import readline  # noqa: F401  # gives input() its history and editing

    _print_result(locate, TABLES)
    sys.stdout.write(
        "SQL, ended by ; or an empty line. `describe TABLE` lists its columns. ctrl-D ends.\n"
    )
    while True:
        try:
            lines = [input("snow> ")]
            while lines[-1].strip() and not lines[-1].rstrip().endswith(";"):
                lines.append(input("  ... "))
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")
            return
        sql = "\n".join(lines).strip()
        if not sql:
            continue
        try:
            _print_result(locate, sql)
        except WarehouseError as error:
            sys.stdout.write(f"{printable(str(error))}\n")


def _published(lake: str, recipe: str | None, cache: Path) -> Path:
    from snow_resources import table_versions  # importing the stores' clients is slow

    folder = table_versions.folder_of(lake, recipe or table_versions.only_recipe(lake))
    return table_versions.fetch_current(folder, cache)


def main() -> None:
    """Run the query of the command line, or prompt for queries."""
    parser = argparse.ArgumentParser(prog="python -m snow_resources.sql", description=__doc__)
    parser.add_argument("sql", nargs="?", help="one query; without it, a prompt")
    parser.add_argument("--lake", help="an object store's URL, s3://bucket/lake")
    parser.add_argument("--recipe", help="whose tables, if the lake holds several recipes'")
    arguments = parser.parse_args()
    home = Path(os.environ.get("SNOW_HOME", ".snow"))

    def locate() -> Path:
        if not arguments.lake:
            return home / "warehouse.duckdb"
        return _published(arguments.lake, arguments.recipe, home / "fetched-tables")

    try:
        if arguments.sql:
            _print_result(locate, arguments.sql)
        else:
            _prompt(locate)
    except WarehouseError as error:
        sys.exit(printable(str(error)))


if __name__ == "__main__":
    main()
