"""The published tables, read-only: `python -m snow_resources.warehouse "select ..."`.

A publisher puts a whole new file in the old one's place (`publishing.py`), so a reader neither
waits nor sees half a table. Queries see the file's own tables and nothing else of this machine;
that keeps mistakes small, and is no fence between hostile tenants.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

_MEMORY_LIMIT = "2GB"
_TIMEOUT_SECONDS = 300.0
_SHOWN_ROWS = 200

TABLES = """
select table_name as "table", estimated_size as "rows", comment as "what it holds"
from duckdb_tables() where schema_name = 'main' order by table_name
"""


class WarehouseError(Exception):
    """What a person asked cannot be answered; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a query returned: at most as many rows as were asked for."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    is_truncated: bool


def query(path: str | Path, sql: str, *, rows: int | None = None) -> Answer:
    """Answer one query from the tables that are published now; `rows`: at most so many."""
    with _reading(Path(path)) as connection:
        try:
            result = connection.execute(sql)
            columns = [str(column[0]) for column in result.description or []]
            found = result.fetchall() if rows is None else result.fetchmany(rows + 1)
        except duckdb.InterruptException as error:
            raise WarehouseError(
                f"no answer in {_TIMEOUT_SECONDS:.0f} s: ask for less, or open {path} yourself"
            ) from error
        except duckdb.CatalogException as error:
            tables = ", ".join(str(row[0]) for row in connection.execute(TABLES).fetchall())
            raise WarehouseError(f"{error}\n\nTables: {tables}") from error
        except duckdb.Error as error:
            raise WarehouseError(str(error)) from error
    is_truncated = rows is not None and len(found) > rows
    return Answer(columns=columns, rows=found[:rows], is_truncated=is_truncated)


@contextmanager
def _reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not path.exists():
        raise WarehouseError(
            f"{path} is not published yet: run `make demo`, or materialize the tables in Dagster"
        )
    limits: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "lock_configuration": "true",
        "memory_limit": _MEMORY_LIMIT,
    }
    try:
        connection = duckdb.connect(str(path), read_only=True, config=limits)
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise WarehouseError(
                f"another program has {path} open for writing, which shuts out readers: "
                f"close it, or open it read-only there ({error})"
            ) from error
        raise WarehouseError(_broken(path, error)) from error
    except duckdb.Error as error:
        raise WarehouseError(_broken(path, error)) from error
    timer = threading.Timer(_TIMEOUT_SECONDS, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield connection
    finally:
        timer.cancel()
        connection.close()


def _broken(path: Path, error: duckdb.Error) -> str:
    return (
        f"{path} cannot be read: delete it and materialize the tables again, nothing is lost "
        f"that the lake does not hold ({error})"
    )


def _show(path: Path, sql: str) -> None:
    from rich import box  # only a person at a terminal needs it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    answer = query(path, sql, rows=_SHOWN_ROWS)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    is_number = [
        all(isinstance(row[index], int | float | None) for row in answer.rows)
        for index in range(len(answer.columns))
    ]
    for name, number in zip(answer.columns, is_number, strict=True):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in answer.rows:
        # Text: corpus content must not be read as rich's markup.
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(table)
    if answer.is_truncated:
        console.print(f"The first {_SHOWN_ROWS} rows; add a `limit` or an aggregate to see others.")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "·" for letter in str(value)
    )


def _prompt(path: Path) -> None:
    import readline  # noqa: F401  # gives input() its history and editing

    _show(path, TABLES)
    sys.stdout.write(
        "SQL, ended by ; or an empty line. `describe TABLE` tells its columns. ctrl-D ends.\n"
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
            _show(path, sql)
        except WarehouseError as error:
            sys.stdout.write(f"{error}\n")


def main() -> None:
    """Answer the argument, or prompt for questions."""
    path = Path(os.environ.get("SNOW_HOME", ".snow")) / "warehouse.duckdb"
    arguments = sys.argv[1:]
    if len(arguments) > 1:
        sys.exit('usage: python -m snow_resources.warehouse ["select ..."]')
    try:
        if arguments:
            _show(path, arguments[0])
        else:
            _prompt(path)
    except WarehouseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
