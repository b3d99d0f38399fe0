"""Read-only queries on the published tables.

A publisher replaces the file atomically (`publishing.py`), so a reader neither waits nor sees an
incomplete table. Queries see only the file's tables and nothing else of this machine; this limits
mistakes, but does not isolate hostile tenants.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

_MEMORY_LIMIT = "2GB"
_TIMEOUT_SECONDS = 300.0

TABLES = """
select table_name as "table", estimated_size as "rows", comment as "what it holds"
from duckdb_tables() where schema_name = 'main'
union all
select view_name, null, comment from duckdb_views() where schema_name = 'main' and not internal
order by 1
"""


class WarehouseError(Exception):
    """A query cannot be answered; the message holds the reason and the remedy."""


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """A query's result, truncated to the requested number of rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    is_truncated: bool


def query(path: str | Path, sql: str, *, rows: int | None = None) -> QueryResult:
    """Run a query on the tables that are published now; `rows`: maximum number of rows.

    Raises WarehouseError if the text holds no statement: only white space, comments, semicolons.
    """
    import duckdb

    with _connect(Path(path)) as connection:
        _require_statement(sql)
        try:
            result = connection.execute(sql)
            columns = [str(column[0]) for column in result.description or []]
            fetched = result.fetchall() if rows is None else result.fetchmany(rows + 1)
        except duckdb.InterruptException as error:
            raise WarehouseError(
                f"no answer in {_TIMEOUT_SECONDS:.0f} s: ask for less, or open {path} yourself"
            ) from error
        except duckdb.CatalogException as error:
            tables = ", ".join(str(row[0]) for row in connection.execute(TABLES).fetchall())
            raise WarehouseError(f"{error}\n\nTables: {tables}") from error
        except duckdb.Error as error:
            raise WarehouseError(str(error)) from error
    is_truncated = rows is not None and len(fetched) > rows
    return QueryResult(columns=columns, rows=fetched[:rows], is_truncated=is_truncated)


def _require_statement(sql: str) -> None:
    import duckdb

    # DuckDB returns no result at all for a text without a statement.
    try:
        sql.encode()
        statements = duckdb.extract_statements(sql)
    except UnicodeEncodeError as error:
        raise WarehouseError(
            f"the query holds {sql[error.start]!r}, which is no character: type it again"
        ) from error
    except duckdb.Error as error:
        raise WarehouseError(str(error)) from error
    if not statements:
        raise WarehouseError(
            "no question: the text holds only comments or semicolons; write a query, "
            "`select * from document_quality limit 5` or `describe document_quality`"
        )


@contextmanager
def _connect(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

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
        raise WarehouseError(_unreadable_message(path, error)) from error
    except duckdb.Error as error:
        raise WarehouseError(_unreadable_message(path, error)) from error
    timer = threading.Timer(_TIMEOUT_SECONDS, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield connection
    finally:
        timer.cancel()
        connection.close()


def _unreadable_message(path: Path, error: duckdb.Error) -> str:
    return (
        f"{path} cannot be read: delete it and materialize the tables again, nothing is lost "
        f"that the lake does not hold ({error})"
    )
