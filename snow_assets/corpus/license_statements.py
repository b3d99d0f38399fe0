"""A licence statement: an SPDX expression, and where it was read."""

from collections.abc import Sequence
from dataclasses import dataclass

from snow_assets.corpus.spdx import conjunction


@dataclass(frozen=True)
class Statement:
    """An SPDX expression (None: a statement that is not readable) and where it was read."""

    expression: str | None
    evidence: str
    adds_to_header: bool = False  # a file's own header does not overrule it: both apply
    notices: tuple[str, ...] = ()  # copyright notices of the LICENSE files that it was read in


def both_apply(statements: Sequence[Statement]) -> Statement:
    """What several statements require together: one that is not readable makes all unknown."""
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
