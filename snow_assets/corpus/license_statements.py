"""A licence statement: an SPDX expression and its source."""

from collections.abc import Sequence
from dataclasses import dataclass

from snow_assets.corpus.spdx import conjunction


@dataclass(frozen=True)
class Statement:
    """An SPDX expression (None: the statement cannot be parsed) and its source."""

    expression: str | None
    evidence: str
    adds_to_header: bool = False  # a file's header does not override it: their conjunction applies
    notices: tuple[str, ...] = ()  # copyright notices of its LICENSE files


def combine_statements(statements: Sequence[Statement]) -> Statement:
    """The conjunction of statements; unknown if one of them cannot be parsed."""
    unreadable = next((part for part in statements if part.expression is None), None)
    if unreadable is not None:
        return unreadable
    expressions = [part.expression for part in statements if part.expression is not None]
    evidence = "; ".join(dict.fromkeys(part.evidence for part in statements))
    notices = dict.fromkeys(notice for part in statements for notice in part.notices)
    return Statement(
        conjunction(expressions),
        evidence,
        adds_to_header=any(part.adds_to_header for part in statements),
        notices=tuple(notices),
    )
