"""Detect a file's licence as an SPDX expression, and compare it with the allow-list.

The nearest statement decides: the file's own header, then the nearest statement of its repository
(`license_files.py`). If it cannot be parsed, or is not on the list, the file is dropped, and no
other statement is searched. Supported are the texts (`license_texts/`) and spellings
(`license_spellings.py`) of SPDX's common licences; any other licence is unknown. Not legal advice.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from snow_assets.corpus.license_headers import stated_in_header
from snow_assets.corpus.license_spellings import SPELLINGS
from snow_assets.corpus.license_statements import Statement, combine_statements
from snow_assets.corpus.license_texts import (
    LicenseText,
    copyright_notices,
    license_text,
    read_license_text,
)
from snow_assets.corpus.spdx import (
    MAX_EXPRESSION_CHARS,
    UnreadableExpressionError,
    conjunction,
    is_spdx,
    permitted_licenses,
)

UNKNOWN = "license_unknown"
NOT_PERMISSIVE = "license_not_permissive"


@dataclass(frozen=True)
class LicenseDecision:
    """`license` if admitted: allow-listed identifiers joined by AND; else the reason for a drop."""

    license: str | None
    reason: str | None
    evidence: str


def parse_license_text(text: str, where: str) -> Statement:
    """Parse a LICENSE file; several distinct licences are joined by AND.

    Texts of permissive licences with additional wording are unknown. The texts of other licences
    are not stored in this package: only their names are detected.
    """
    reading = read_license_text(text)
    if not reading.licenses:
        return Statement(None, f"{where}: no known licence text")
    if reading.uncovered is not None and (reading.is_restricted or _has_full_texts(reading)):
        return Statement(None, _uncovered_evidence(reading, where))
    return Statement(conjunction(reading.licenses), where, notices=copyright_notices(text))


def distribution_statement(
    *,
    expression: str | None,
    field: str | None,
    classifiers: Iterable[str],
    texts: Mapping[str, str],
    where: str,
) -> Statement:
    """Combine a Python distribution's metadata and its top LICENSE files.

    A LICENSE text with an added condition of use makes the statement unknown. Else an SPDX
    expression decides: License-Expression (PEP 639), or several identifiers in the older field.
    A LICENSE text comes next: its first licence is the author's if the metadata agrees (the others
    are of bundled libraries), else all that it names apply. Then the free-form field and the
    classifiers, joined by AND.
    """
    statement = _distribution_statement(expression, field, list(classifiers), texts, where)
    notices = dict.fromkeys(
        notice for name in sorted(texts) for notice in copyright_notices(texts[name])
    )
    return replace(statement, notices=tuple(notices))


def _distribution_statement(
    expression: str | None,
    field: str | None,
    classifiers: Sequence[str],
    texts: Mapping[str, str],
    where: str,
) -> Statement:
    readings = {name: read_license_text(texts[name]) for name in sorted(texts)}
    for name, reading in readings.items():
        if reading.is_restricted:
            return Statement(None, _uncovered_evidence(reading, f"{where}: {name}"))
    if expression:
        readable = is_spdx(expression)
        return Statement(
            expression if readable else None, f"{where}: License-Expression: {expression[:200]}"
        )
    if field and _is_compound(field):
        return Statement(field.strip(), f"{where}: License: {field.strip()}")
    claims, is_unclear = _claims(field, classifiers)
    if readings:
        agreed = [
            _statement_with_metadata(reading, name, claims, field, classifiers, where)
            for name, reading in readings.items()
        ]
        return combine_statements(agreed)
    if field and len(field) >= 100:
        return parse_license_text(field, f"{where}: License")
    if claims and not is_unclear:
        return Statement(conjunction(claims), f"{where}: License or classifiers: {claims}")
    first = (field or "").strip().splitlines()[:1]
    return Statement(None, f"{where}: License: {first[0][:80] if first else 'none'}")


def normalize_license_name(name: str | None, *, slash: Literal["AND", "OR"] = "AND") -> str | None:
    """Normalize a licence name of package metadata to an SPDX expression; None if unknown.

    `slash`: the meaning of `MIT/Apache-2.0` in this metadata.
    """
    if not name or len(name) > MAX_EXPRESSION_CHARS:
        return None
    whole = _normalize_simple_name(name)
    if whole is not None or "/" not in name or "://" in name:
        return whole
    parts = [part for part in map(_normalize_simple_name, name.split("/")) if part is not None]
    if len(parts) < len(name.split("/")):
        return None
    return f" {slash} ".join(f"({part})" for part in parts)


def _normalize_simple_name(name: str) -> str | None:
    plain = re.sub(r"\s+", " ", name.replace(",", " ")).strip()
    listed = SPELLINGS.get(plain.lower())
    if listed is not None or "," in name:
        return listed
    return plain if is_spdx(plain) else None


def decide(content: bytes, statement: Statement, *, permissive: Sequence[str]) -> LicenseDecision:
    """Admit or drop a file: its own header overrides `statement`."""
    header = stated_in_header(content)
    nearest = header or statement
    if header is not None and statement.adds_to_header:
        nearest = combine_statements([header, statement])
    if nearest.expression is None:
        return LicenseDecision(None, UNKNOWN, nearest.evidence)
    try:
        chosen = permitted_licenses(nearest.expression, permissive)
    except UnreadableExpressionError as error:
        evidence = f"{nearest.expression[:200]!r} is no SPDX: {error} ({nearest.evidence[:200]})"
        return LicenseDecision(None, UNKNOWN, evidence)
    if chosen is None:
        return LicenseDecision(None, NOT_PERMISSIVE, f"{nearest.expression} ({nearest.evidence})")
    return LicenseDecision(" AND ".join(chosen), None, nearest.evidence)


def is_permitted(license_: str, permissive: Sequence[str]) -> bool:
    """Whether all parts of a recorded licence, joined by AND, are on the list."""
    return all(part in permissive for part in license_.split(" AND "))


def _has_full_texts(reading: LicenseText) -> bool:
    """Whether this package has the texts of all detected licences."""
    return all(license_text(name) is not None for name in reading.licenses)


def _uncovered_evidence(reading: LicenseText, where: str) -> str:
    named = " AND ".join(reading.licenses) or "no known licence"
    return f"{where}: {named}, and more that it does not say: {str(reading.uncovered)[:120]!r}"


def _is_compound(field: str) -> bool:
    return is_spdx(field) and any(word in field.upper().split() for word in ("AND", "OR", "WITH"))


def _claims(field: str | None, classifiers: Sequence[str]) -> tuple[list[str], bool]:
    """Licences in the field and classifiers, and whether one of them is unspecific or unknown."""
    names = [name.split("::")[-1] for name in classifiers if "License ::" in name]
    names = [name for name in names if name.strip() != "OSI Approved"]
    if field and len(field) < 100:
        names.append(field)
    spellings = [normalize_license_name(name) for name in names]
    return sorted({claim for claim in spellings if claim}), None in spellings


def _statement_with_metadata(
    reading: LicenseText,
    name: str,
    claims: Sequence[str],
    field: str | None,
    classifiers: Sequence[str],
    where: str,
) -> Statement:
    """The statement of a distribution's LICENSE text, combined with its metadata."""
    if not reading.licenses:
        return Statement(None, f"{where}: {name}: no known licence text")
    first = reading.licenses[0]
    agrees = first in claims or (_mentions_bsd(field, classifiers) and first.startswith("BSD-"))
    goes_on = reading.is_bundle or len(reading.licenses) > 1
    if reading.uncovered is not None and _has_full_texts(reading) and not (agrees and goes_on):
        return Statement(None, _uncovered_evidence(reading, f"{where}: {name}"))
    if agrees and len(claims) <= 1:
        return Statement(first, f"{where}: {name} states it, metadata agrees")
    return Statement(conjunction([*reading.licenses, *claims]), f"{where}: {name}")


def _mentions_bsd(field: str | None, classifiers: Iterable[str]) -> bool:
    return (field or "").strip().lower() in {"bsd", "bsd license"} or any(
        name.endswith(":: BSD License") for name in classifiers
    )
