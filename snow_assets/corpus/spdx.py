"""SPDX licence expressions (SPDX 3.0.1, annex B), parsed by the library license-expression.

Identifiers compare without case. `A WITH exception` is A where SPDX lists the exception (one only
gives more permission), `A+` includes A. An identifier that SPDX does not list is never permitted.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from license_expression import (
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_license_index,
)

MAX_EXPRESSION_CHARS = 1_000
"""Longer expressions are not parsed: real ones name a few licences."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9.:+-]+")


class UnreadableExpressionError(ValueError):
    """A text is not an SPDX licence expression, or is too long."""


def permitted_licenses(expression: str, permissive: Sequence[str]) -> list[str] | None:
    """The identifiers that apply if every OR is resolved to its first permitted alternative.

    None if no alternative is permitted. Raises UnreadableExpressionError for other texts. Time and
    memory are linear in the expression's length, which MAX_EXPRESSION_CHARS bounds.
    """
    names = {name.lower(): name for name in permissive}
    chosen = _permitted(_parse(expression), names)
    return None if chosen is None else sorted(chosen)


def is_spdx(expression: str) -> bool:
    """Whether a text is an SPDX expression of which at least one identifier is on SPDX's list."""
    try:
        symbols = _licensing().license_symbols(_parse(expression), decompose=True)
    except UnreadableExpressionError:
        return False
    return any(symbol.key.removesuffix("+").lower() in listed_identifiers() for symbol in symbols)


def conjunction(expressions: Iterable[str]) -> str:
    """Join distinct expressions by AND."""
    distinct = list(dict.fromkeys(expressions))
    if len(distinct) == 1:
        return distinct[0]
    return " AND ".join(f"({part})" if " OR " in part.upper() else part for part in distinct)


def _parse(expression: str) -> object:
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise UnreadableExpressionError(f"longer than {MAX_EXPRESSION_CHARS} characters")
    try:
        parsed = _licensing().parse(expression)
    except Exception as error:
        raise UnreadableExpressionError(str(error)) from error
    if parsed is None:
        raise UnreadableExpressionError("empty")
    for symbol in _licensing().license_symbols(parsed, decompose=True):
        if not _IDENTIFIER.fullmatch(symbol.key) or symbol.key in {"NONE", "NOASSERTION"}:
            raise UnreadableExpressionError(f"{symbol.key!r} is no SPDX identifier")
    return parsed


def _permitted(node: object, names: dict[str, str]) -> set[str] | None:
    if isinstance(node, LicenseWithExceptionSymbol):
        is_exception = node.exception_symbol.is_exception and not node.license_symbol.is_exception
        return _permitted(node.license_symbol, names) if is_exception else None
    if isinstance(node, LicenseSymbol):
        name = names.get(node.key.lower()) or names.get(node.key.lower().removesuffix("+"))
        return {name} if name else None
    alternatives = [_permitted(part, names) for part in node.args]  # type: ignore[attr-defined]
    if isinstance(node, _licensing().OR):
        return next((part for part in alternatives if part is not None), None)
    if any(part is None for part in alternatives):
        return None
    return {name for part in alternatives if part for name in part}


@lru_cache(maxsize=1)
def _licensing() -> Licensing:
    """SPDX's identifiers, without the LicenseRef aliases of the library's index."""
    return Licensing(
        [
            LicenseSymbol(
                key=entry["spdx_license_key"],
                aliases=tuple(
                    alias
                    for alias in entry.get("other_spdx_license_keys", ())
                    if not alias.startswith("LicenseRef")
                ),
                is_exception=bool(entry.get("is_exception")),
            )
            for entry in get_license_index()
            if not (entry.get("spdx_license_key") or "LicenseRef").startswith("LicenseRef")
        ]
    )


@lru_cache(maxsize=1)
def listed_identifiers() -> frozenset[str]:
    """SPDX's identifiers of licences and exceptions, in lower case."""
    return frozenset(name.lower() for name in _licensing().known_symbols)
