"""Markdown tables of what Dagster shows."""

from collections.abc import Sequence
from typing import Any

_MAX_CELL_CHARS = 120


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of rows of values, which may be untrusted; columns of numbers are aligned right."""
    lines = [list(names), [_rule([row[index] for row in rows]) for index in range(len(names))]]
    lines += [[cell(value)[:_MAX_CELL_CHARS] for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: Any) -> str:
    """Escape a value so that it cannot end a cell or a line, or start markup."""
    text = f"{value:,}" if _is_integer(value) else str(value)
    return "".join(c if c.isprintable() and c not in "`|<>[]\\" else "?" for c in text)


def _rule(column: Sequence[Any]) -> str:
    is_numeric = column and all(_is_integer(value) or isinstance(value, float) for value in column)
    return "---:" if is_numeric else "---"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
