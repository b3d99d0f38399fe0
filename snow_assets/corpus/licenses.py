"""Which licence a file is under, as SPDX, and whether the allow-list admits it.

The nearest statement decides: the file's own `SPDX-License-Identifier`, then the LICENSE file
nearest above it, then what its repository's metadata says. No statement that can be read, or one
off the list: dropped. This is a careful reader, not a lawyer: it knows the texts and spellings
below and calls everything else unknown.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

UNKNOWN = "license_unknown"
NOT_PERMISSIVE = "license_not_permissive"


@dataclass(frozen=True)
class Statement:
    """An SPDX expression (None: nothing that could be read) and where it was read."""

    expression: str | None
    evidence: str


@dataclass(frozen=True)
class Verdict:
    """`license` if admitted: allow-listed identifiers joined by AND; else the reason for a drop."""

    license: str | None
    reason: str | None
    evidence: str


_SPELLINGS = {
    "0bsd": "0BSD", "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0", "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license v2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0", "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0",
    "2-clause bsd license": "BSD-2-Clause", "bsd 2-clause": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause", "simplified bsd": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause", "new bsd license": "BSD-3-Clause", "modified bsd": "BSD-3-Clause",
    "boost software license 1.0": "BSL-1.0", "boost software license 1.0 (bsl-1.0)": "BSL-1.0",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "isc license": "ISC", "isc license (iscl)": "ISC", "mit license": "MIT",
    "the mit license": "MIT", "mit no attribution license (mit-0)": "MIT-0",
    "the mit license (mit)": "MIT", "mit license (mit)": "MIT", "expat": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "mpl 2.0": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "psf": "PSF-2.0", "psfl": "PSF-2.0", "python software foundation license": "PSF-2.0",
    "the unlicense": "Unlicense", "the unlicense (unlicense)": "Unlicense",
    "zlib/libpng license": "Zlib", "cc0 1.0 universal (cc0 1.0) public domain dedication":
    "CC0-1.0", "artistic license": "Artistic-2.0", "gpl": "GPL-2.0-or-later",
    "gnu general public license (gpl)": "GPL-2.0-or-later", "gplv2": "GPL-2.0-only",
    "gnu general public license v2 (gplv2)": "GPL-2.0-only",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only", "gplv3": "GPL-3.0-only",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.0-or-later",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only", "lgpl": "LGPL-2.1-or-later",
    "gnu library or lesser general public license (lgpl)": "LGPL-2.1-or-later",
}  # fmt: skip
"""Spellings of metadata and PyPI classifiers. A bare "BSD" is left out: two or three clauses?"""

# Sentences that only stand in one licence's own text (spdx.org/licenses), as `_one_blank` makes
# them: lower case, white space and comment signs as one blank.
_SENTENCES: Sequence[tuple[str, str]] = (
    ("AGPL-3.0-only", "gnu affero general public license version 3"),
    ("LGPL-3.0-only", "gnu lesser general public license version 3"),
    ("LGPL-2.1-only", "gnu lesser general public license version 2.1"),
    ("LGPL-2.0-only", "gnu library general public license version 2"),
    ("GPL-3.0-only", "gnu general public license version 3"),
    ("GPL-2.0-only", "gnu general public license version 2"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("MPL-2.0", "mozilla public license, version 2.0"),
    ("EPL-2.0", "eclipse public license - v 2.0"),
    ("CC-BY-SA-4.0", "creative commons attribution-sharealike 4.0"),
    ("Artistic-2.0", "the artistic license 2.0"),
    ("Apache-2.0", "apache license version 2.0, january 2004"),
    ("Apache-2.0", "licensed under the apache license, version 2.0"),
    ("BSL-1.0", "boost software license - version 1.0"),
    ("CC0-1.0", "cc0 1.0 universal"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("Python-2.0", "beopen.com license agreement for python"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("Zlib", "altered source versions must be plainly marked as such"),
    ("MIT", "permission is hereby granted, free of charge, to any person obtaining a copy of this"
            " software and associated documentation files"),
    ("BSD-3-Clause", "redistribution and use in source and binary forms, with or without"
                     " modification, are permitted"),
    ("ISC", "permission to use, copy, modify, and or distribute this software for any purpose with"
            " or without fee is hereby granted"),
    ("ISC", "permission to use, copy, modify, and distribute this software for any purpose with"
            " or without fee is hereby granted"),
    ("HPND", "permission to use, copy, modify, and distribute this software and its documentation"
             " for any purpose and without fee is hereby granted"),
    ("HPND", "permission to use, copy, modify and distribute this software and its documentation"
             " for any purpose and without fee is hereby granted"),
)  # fmt: skip

_KNOWN = {*_SPELLINGS.values(), *(name for name, _ in _SENTENCES), "BSD-2-Clause", "BSD-4-Clause",
          "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0", "LGPL-2.1-or-later",
          "LGPL-3.0-or-later", "AGPL-3.0-or-later", "MIT-CMU", "NCSA"}  # fmt: skip

_HEADER = re.compile(rb"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() \t-]+)")
_GRANT = re.compile(
    r"under the terms of (?:either )?(?:version [\d.]+ of )?the "
    r"(gnu (?:lesser |library |affero )?general public licen[cs]e|mozilla public license)"
)
_HEADER_BYTES = 4_096  # a licence header stands in a file's beginning
LICENSE_BYTES = 262_144  # of a LICENSE file; wheels append every bundled library's


def is_license_file(name: str) -> bool:
    """LICENSE, LICENCE, COPYING and UNLICENSE, with any ending."""
    return bool(re.match(r"(un)?licen[cs]e|copying", name.lower())) and not name.endswith(".py")


def stated_in_header(content: bytes) -> Statement | None:
    """What the file says of itself, or None if it says nothing."""
    head = content[:_HEADER_BYTES]
    found = _HEADER.search(head)
    if found:
        expression = found[1].decode("ascii").strip().removesuffix("--").strip()
        return Statement(expression, f"header: SPDX-License-Identifier: {expression}")
    text = _one_blank(head.decode("latin-1"))
    granted = _GRANT.search(text)
    if granted:
        kind = "MPL-2.0" if granted[1].startswith("mozilla") else "GPL-2.0-or-later"
        return Statement(kind, f"header: {granted[0]}")
    return None


def stated_in_text(text: str, where: str) -> Statement:
    """Which licence a LICENSE file states; several distinct ones are all named, joined by AND."""
    names = _named_in(_one_blank(text))
    if not names:
        return Statement(None, f"{where}: no known licence text")
    return Statement(" AND ".join(names), where)


def stated_by_author(
    *,
    expression: str | None,
    field: str | None,
    classifiers: Iterable[str],
    texts: Mapping[str, str],
    where: str,
) -> Statement:
    """What a repository's metadata and its top LICENSE files say together.

    An SPDX expression is the author's own and decides. A LICENSE text comes next: its first
    licence is the author's if the metadata agrees (what follows is of bundled libraries), else
    all that it names apply. Then the free-form field and the classifiers; several mean all.
    """
    for key, stated in (("License-Expression", expression), ("License", field)):
        if stated and _is_known(stated):
            return Statement(stated, f"{where}: {key}: {stated}")
    said = [_spelled(field)] if field and len(field) < 100 else []
    said += [_spelled(name.split("::")[-1]) for name in classifiers if "License ::" in name]
    claims = sorted({claim for claim in said if claim})
    bare_bsd = _says_bsd(field, classifiers)
    for name in sorted(texts):
        named = _named_in(_one_blank(texts[name]))
        if not named:
            continue
        agrees = named[0] in claims or (bare_bsd and named[0].startswith("BSD-"))
        if agrees and len(claims) <= 1:
            return Statement(named[0], f"{where}: {name} states it, metadata agrees")
        return Statement(" AND ".join(dict.fromkeys([*named, *claims])), f"{where}: {name}")
    if field and len(field) >= 100 and (named := _named_in(_one_blank(field))):
        return Statement(" AND ".join(named), f"{where}: License")
    if claims and not bare_bsd:
        return Statement(" AND ".join(claims), f"{where}: License or classifiers")
    first = (field or "").strip().splitlines()[:1]
    return Statement(None, f"{where}: License: {first[0][:80] if first else 'none'}")


def spelled(name: str | None) -> str | None:
    """An SPDX identifier or expression for a name found in metadata, if it is known."""
    if not name:
        return None
    return _spelled(name) or (name.strip() if _is_known(name) else None)


def decide(content: bytes, statement: Statement, *, permissive: Sequence[str]) -> Verdict:
    """Admit or drop a file: its own header overrules `statement`."""
    nearest = stated_in_header(content) or statement
    if nearest.expression is None:
        return Verdict(None, UNKNOWN, nearest.evidence)
    chosen = _choose(_tokens(nearest.expression), permissive)
    if chosen is None:
        return Verdict(None, NOT_PERMISSIVE, f"{nearest.expression} ({nearest.evidence})")
    if not chosen:
        return Verdict(None, UNKNOWN, f"{nearest.expression!r} is no SPDX ({nearest.evidence})")
    return Verdict(" AND ".join(sorted(chosen)), None, nearest.evidence)


def is_permitted(license_: str, permissive: Sequence[str]) -> bool:
    """Whether a recorded licence, one or several joined by AND, is wholly on the list."""
    return all(part in permissive for part in license_.split(" AND "))


def _one_blank(text: str) -> str:
    """Lower case, white space and comment signs as one blank."""
    return re.sub(r"[\s#*/]+", " ", text).lower()


def _named_in(text: str) -> list[str]:
    """The licences whose sentences stand in a text, in the text's order."""
    places: dict[str, int] = {}
    for name, sentence in _SENTENCES:
        place = text.find(sentence)
        if place >= 0:
            name = _variant(name, text[place : place + 2_500])
            places[name] = min(place, places.get(name, place))
    if "Python-2.0" in places:  # CPython's stack: PSF's, CWI's, and 0BSD for the manual's examples
        stack = [places.pop(name) for name in ("PSF-2.0", "HPND", "0BSD") if name in places]
        places["Python-2.0"] = min([places["Python-2.0"], *stack])
    return sorted(places, key=lambda name: (places[name], name))


def _variant(name: str, text: str) -> str:
    """Tell apart the licences that begin alike."""
    if name == "MIT" and "redistributions of source code must retain" in text:
        return "NCSA"
    if name == "MIT" and re.search(r"is furnished to do so\. the software is provided", text):
        return "MIT-0"
    if name == "ISC" and "provided that the above copyright" not in text:
        return "0BSD"
    if name == "BSD-3-Clause" and "all advertising materials mentioning" in text:
        return "BSD-4-Clause"
    if name == "BSD-3-Clause" and not re.search(
        r"neither the names? |names? of .{1,80} may not be"
        r"|may not be used to endorse",
        text,
    ):
        return "BSD-2-Clause"
    return name


def _spelled(name: str | None) -> str | None:
    plain = re.sub(r"\s+", " ", (name or "").replace(",", " ")).strip().lower()
    if plain in {"mit", "isc"}:
        return plain.upper()
    return _SPELLINGS.get(plain)


def _says_bsd(field: str | None, classifiers: Iterable[str]) -> bool:
    return (field or "").strip().lower() in {"bsd", "bsd license"} or any(
        name.endswith(":: BSD License") for name in classifiers
    )


def _tokens(expression: str) -> list[str]:
    return re.findall(r"[()]|[A-Za-z0-9.+-]+", expression)


def _is_known(expression: str) -> bool:
    """Whether it is an SPDX expression of which at least one identifier is known here."""
    tokens = _tokens(expression)
    is_expression = _choose(tokens, ()) != [] and "".join(tokens) == "".join(expression.split())
    return is_expression and any(token in _KNOWN for token in tokens)


def _choose(tokens: list[str], permissive: Sequence[str]) -> list[str] | None:
    """The identifiers that apply if every OR is taken the permitted way.

    None: no permitted way. An empty list: not an SPDX expression. `A WITH exception` is A: an
    exception only gives more permission (SPDX 3.0.1, annex B).
    """
    parser = _Expression(tokens, permissive)
    alternatives = parser.either()
    if alternatives is None or parser.rest:
        return []
    return next((chosen for chosen in alternatives if set(chosen) <= set(permissive)), None)


class _Expression:
    """Recursive descent over SPDX tokens; an alternative is the list of licences that apply."""

    def __init__(self, tokens: list[str], permissive: Sequence[str]) -> None:
        self.rest = list(tokens)
        self.names = {name.lower(): name for name in permissive}

    def either(self) -> list[list[str]] | None:
        found = self.all_of()
        while found is not None and self._take("OR"):
            other = self.all_of()
            found = None if other is None else found + other
        return found

    def all_of(self) -> list[list[str]] | None:
        found = self.one()
        while found is not None and self._take("AND"):
            other = self.one()
            found = (
                None
                if other is None
                else [sorted({*left, *right}) for left in found for right in other]
            )
        return found

    def one(self) -> list[list[str]] | None:
        if self._take("("):
            inner = self.either()
            return inner if self._take(")") else None
        if not self.rest or self.rest[0].upper() in {"AND", "OR", "WITH", ")"}:
            return None
        name = self.rest.pop(0)
        if self._take("WITH"):
            if not self.rest:
                return None
            self.rest.pop(0)
        return [[self.names.get(name.lower(), name)]]

    def _take(self, word: str) -> bool:
        if self.rest and self.rest[0].upper() == word:
            self.rest.pop(0)
            return True
        return False
