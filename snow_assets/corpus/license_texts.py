"""Detect the licences in the text of a LICENSE file, and wording that they do not cover.

A sentence that is unique to a licence identifies it. A text with permissive licences alone is
accepted only if no other wording can be a condition: every word is in a shingle of SHINGLE_WORDS
words of the texts in `license_texts/` (SPDX's, and reviewed wordings in `variants.txt`), or in a
copyright notice, a heading, a name or an address. Uncovered words must not include operative words
such as "not", "only" or "commercial".
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from snow_assets.corpus.untrusted import printable

SHINGLE_WORDS = 4
MAX_TEXT_BYTES = 262_144  # of a LICENSE file; wheels append every bundled library's

# Sentences that are unique to a licence's text (spdx.org/licenses), as `normalized_words` joins
# them.
_SENTENCES: Sequence[tuple[str, str]] = (
    ("AGPL-3.0-only", "gnu affero general public license version 3"),
    ("LGPL-3.0-only", "gnu lesser general public license version 3"),
    ("LGPL-2.1-only", "gnu lesser general public license version 2.1"),
    ("LGPL-2.0-only", "gnu library general public license version 2"),
    ("GPL-3.0-only", "gnu general public license version 3"),
    ("GPL-2.0-only", "gnu general public license version 2"),
    ("GPL-1.0-only", "gnu general public license version 1"),
    ("GFDL-1.1-or-later", "gnu free documentation license"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("MPL-1.1", "mozilla public license version 1.1"),
    ("EPL-2.0", "eclipse public license v 2.0"),
    ("EPL-1.0", "eclipse public license v 1.0"),
    ("CDDL-1.0", "common development and distribution license"),
    ("EUPL-1.2", "european union public licence v"),
    ("EUPL-1.2", "european union public license v"),
    ("BUSL-1.1", "business source license 1.1"),
    ("BUSL-1.1", "bsl 1.1"),
    ("OSL-3.0", "open software license"),
    ("Elastic-2.0", "elastic license 2.0"),
    ("SSPL-1.0", "server side public license"),
    ("OFL-1.1", "sil open font license"),
    ("CC-BY-NC-4.0", "creative commons attribution noncommercial"),
    ("CC-BY-ND-4.0", "creative commons attribution noderivatives"),
    ("CC-BY-SA-4.0", "creative commons attribution sharealike"),
    ("CC-BY-4.0", "creative commons attribution 4.0"),
    ("CC-BY-4.0", "creative commons attribution 3.0"),
    ("Artistic-2.0", "the artistic license 2.0"),
    ("Artistic-1.0", "document is to state the conditions under which a package may be copied"),
    ("Apache-2.0", "apache license version 2.0 january 2004"),
    ("Apache-2.0", "licensed under the apache license version 2.0"),
    ("BSL-1.0", "boost software license version 1.0"),
    ("CC0-1.0", "cc0 1.0 universal"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("Python-2.0", "beopen com license agreement for python"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("Zlib", "altered source versions must be plainly marked as such"),
    (
        "MIT",
        "permission is hereby granted free of charge to any person obtaining a copy of this"
        " software and associated documentation files",
    ),
    (
        "BSD-3-Clause",
        "redistribution and use in source and binary forms with or without"
        " modification are permitted",
    ),
    (
        "ISC",
        "permission to use copy modify and or distribute this software for any purpose with"
        " or without fee is hereby granted",
    ),
    (
        "ISC",
        "permission to use copy modify and distribute this software for any purpose with"
        " or without fee is hereby granted",
    ),
    (
        "MIT-CMU",
        "this software and its associated documentation for any purpose and without fee is"
        " hereby granted",
    ),
    (
        "HPND",
        "permission to use copy modify and distribute this software and its documentation"
        " for any purpose and without fee is hereby granted",
    ),
    (
        "HPND",
        "permission to use copy modify distribute and sell this software and its documentation"
        " for any purpose is hereby granted without fee",
    ),
)

# Grants that must be complete: a shortened grant has only words of the licence, too.
_GRANTS = {
    "MIT": "to deal in the software without restriction including without limitation the rights to"
    " use copy modify merge publish distribute sublicense and or sell copies of the software"
    " and to permit persons to whom the software is furnished to do so",
    "Zlib": "permission is granted to anyone to use this software for any purpose including"
    " commercial applications and to alter it and redistribute it freely",
}
_GRANTS["MIT-0"] = _GRANTS["MIT"]

_OPERATIVE = frozenset(
    re.findall(
        r"\S+",
        """
    not no only must may shall should cannot can will would never nor neither unless except
    without provided condition conditions conditional restriction restrictions restrict
    restricts restricted limit limited limitation prohibit prohibits prohibited forbid
    forbidden disallow disallowed deny denied commercial commercially noncommercial nonprofit
    profit license licensed licensee licenses licensing sublicense permit permits permitted
    permission permissions allow allowed allows agree agreed agreement terms require requires
    required requirement obligation obligations use used uses using user users usage
    distribute distributed distribution redistribute redistributed redistribution copy copied
    copying modify modified modification derivative sell sells sold sale selling fee fees pay
    paid payment royalty royalties charge subscription evil good harm ethical ethics military
    weapon weapons nuclear war government governments personal private internal evaluation
    research researchers academic academia educational education student students teaching
    purpose purposes revoke revoked terminate terminated termination prior written consent
    approval confidential proprietary secret exclusive exclusively solely purely strictly
    production competing compete competitor train training model models ai machine learning
    dataset scrape scraping vegan vegans employ employee employees hosted service services
    trial trials days period expire expires expiration under subject subjects comply
    compliance violate violation gpl lgpl agpl copyleft patent patents trademark trademarks
    warranty gnu mozilla eclipse same
    details intellectual property protected higher vim custom autonomy ruby
        """,
    )
)
"""Words that can grant, limit or condition; a name, an address or a heading has none of them.
    gnu mozilla eclipse same details intellectual property protected higher vim
        """

_FORBIDDEN = re.compile(
    r"commons clause|for good not evil|(?<!commercial and )(?<!commercial or )non ?commercial(?!ly)"
    r"|not for commercial|commercial use (?:is|of)"
    r"|(?:personal|academic|research|educational|evaluation|internal|testing|individual)"
    r"(?: \w+){0,3} (?:use|purposes?|uses) only"
    r"|only for (?:personal|academic|research|educational|evaluation|internal|non)"
    r"|hippocratic license|do no harm|human rights|field of use|anti 996|elastic license"
    r"|business source license|server side public license|polyform|fair source|functional source"
    r"|(?:may|must|shall|can) ?not be used (?:for|by|in (?!advertising|any advert|connection))"
    r"|right to sell the software|additional use grant|valid subscription|commercial agreement"
    r"|(?:llama|gemma|openrail|rail) (?:\w+ ){0,2}license"
)
"""Conditions of use that no permissive licence has."""

_BUNDLED = re.compile(
    r"bundl|(?:taken|copied|ported|borrowed) from|third part|3rd part|vendored"
    r"|the following (?:software|component|file|librar|license"
    r"|copyright|notice|package|module)|subcomponent|portions of|parts of|incorporat|includes code"
    r"|includes software|derived from|adapted from|based on|contains code|license for |licenses? of"
)
"""Where a distribution's LICENSE file goes on with the licences of what it bundles."""

_HEADING = frozenset(
    re.findall(
        r"\S+",
        """
    the a an and or of for this is in to with by at see mit isc bsd apache zlib libpng boost
    expat x11 ncsa unlicense psf python psfl hpnd cc0 0bsd bsl 0 1 2 3 1.0 2.0 2.1 1.0.0 two
    three clause clauses new revised simplified modified original license licenses licensed
    copyright notice legal terms conditions software project package library code source file
    files full text version under as follows below it its permissive standard agreement
    information used s all rights reserved begin end start
        """,
    )
)
_COPYRIGHT = re.compile(
    r"^\W*(?:portions?\W+|parts\W+|modifications?\W+|all\W+|some\W+)?"
    r"(?:copyright|copr\b|\(c\)|\u00a9|&copy;|spdx-filecopyrighttext|<year>|\[year\]|year\b)",
    re.IGNORECASE,
)
_SPDX_LINE = re.compile(r"^[^\w\n]*+SPDX-License-Identifier:[ \t]*+([^\s].*)$", re.MULTILINE)
_URL = re.compile(r"(?:https?|ftp)://\S+|www\.\S+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9.-]+")
_COPYLEFT_WORD = re.compile(r"(?:[al]?gpl|glp|mpl|epl|osl|cddl|eupl|sspl|busl)(?:v?\d|$)")
_OTHER_SCRIPT = re.compile(r"[^\W\d_\x00-\u036f\u1e00-\u1eff]+")  # letters that are not Latin
_MAX_NAME_LETTERS = 16  # of a holder in another script
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_MAX_NOTICE_CHARS = 300
_MAX_LEFT_OVER_WORDS = 40  # in one sequence: a holder's name, an address, a list of authors


@dataclass(frozen=True)
class LicenseText:
    """SPDX expressions in the text's order, and wording that no known text covers."""

    licenses: tuple[str, ...]
    uncovered: str | None = None  # the first sequence of words that could be a condition
    is_bundle: bool = False  # `uncovered` follows an announcement of bundled components
    is_restricted: bool = False  # `uncovered` is a condition of use, or a changed grant


def read_license_text(text: str) -> LicenseText:
    """Read at most MAX_TEXT_BYTES characters. Time is linear in their number."""
    text = text[:MAX_TEXT_BYTES]
    tags = tuple(tag.rstrip() for tag in _SPDX_LINE.findall(text))
    text = _SPDX_LINE.sub("", text)
    words = " ".join(normalized_words(text))
    licenses = tuple(dict.fromkeys([*_find_licenses(words), *tags]))
    forbidden = _FORBIDDEN.search(words)
    if forbidden:
        context = words[max(0, forbidden.start() - 40) : forbidden.end() + 60]
        return LicenseText(licenses, context, is_restricted=True)
    if not licenses:
        return LicenseText(())
    for name in licenses:
        grant = _GRANTS.get(name)
        if grant and grant not in words:
            return LicenseText(licenses, f"a changed grant of {name}", is_restricted=True)
    uncovered, is_bundle = _find_uncovered(text)
    return LicenseText(licenses, uncovered, is_bundle=is_bundle)


def license_text(identifier: str) -> str | None:
    """A permissive licence's text from SPDX; None if this package does not have it."""
    file = files("snow_assets.corpus") / "license_texts" / f"{identifier}.txt"
    if not _IDENTIFIER.fullmatch(identifier) or not file.is_file():
        return None
    return file.read_text(encoding="utf-8")


def copyright_notices(text: str) -> tuple[str, ...]:
    """The distinct copyright notices of a licence text, verbatim; at most 50."""
    lines = (" ".join(line.split()) for line in text[:MAX_TEXT_BYTES].splitlines())
    notices = (
        line.strip("#*/;<> ")
        for line in lines
        if len(line) <= _MAX_NOTICE_CHARS and _COPYRIGHT.match(line) and _YEAR.search(line)
    )
    return tuple(itertools.islice(dict.fromkeys(printable(notice) for notice in notices), 50))


def normalized_words(text: str) -> list[str]:
    """Lower-case words and version numbers; punctuation, markup and comment signs left out."""
    text = text.lower().replace("licence", "license").replace("'s", "s").replace("\u2019s", "s")
    return re.findall(r"[a-z0-9]+(?:\.[0-9]+)*", text)


def _find_uncovered(text: str) -> tuple[str | None, bool]:
    words: list[str] = []
    is_free: list[bool] = []  # of a copyright notice or a heading
    for line in _URL.sub("", text).splitlines():
        other_script = "".join(_OTHER_SCRIPT.findall(line))
        if len(other_script) > (_MAX_NAME_LETTERS if _COPYRIGHT.match(line) else 0):
            return line.strip()[:200], False
        line_words = normalized_words(line)
        words += line_words
        is_free += [_is_notice(line, line_words)] * len(line_words)
    shingles = _shingles()
    covered = list(is_free)
    for start in range(len(words) - SHINGLE_WORDS + 1):
        if tuple(words[start : start + SHINGLE_WORDS]) in shingles:
            covered[start : start + SHINGLE_WORDS] = [True] * SHINGLE_WORDS
    for index in range(len(words)):  # "released under the GPL" is in Python's history, too
        if _COPYLEFT_WORD.match(words[index]) and not _is_in_shingles(words, index):
            covered[index] = False
    is_bundle = False
    for begin, end in _gaps(covered):
        gap = " ".join(words[max(0, begin - 3) : end + 3])
        is_bundle = is_bundle or bool(_BUNDLED.search(gap))
        if end - begin > _MAX_LEFT_OVER_WORDS or _has_operative(words[begin:end]):
            return gap[:200], is_bundle
    return None, False


def _is_notice(line: str, words: Sequence[str]) -> bool:
    """A copyright notice without an operative word, or a heading."""
    if len(words) <= 12 and _HEADING.issuperset(words):
        return True
    named = [word for word in words if word not in _HEADING and word != "licensing"]
    if len(words) <= 8 and len(named) <= 2 and not _has_operative(named):  # "The Kiwi license"
        return True
    operative = _OPERATIVE.intersection(words) - {
        "limited",
        "service",
        "services",
        "research",
        "no",
        "nuclear",
        "model",
        "models",
        "education",
        "ai",
        "machine",
        "learning",
        "government",
        "will",
        "may",
        "good",
        "academic",
        "licenses",
    }
    return bool(_COPYRIGHT.match(line)) and not operative


def _is_in_shingles(words: Sequence[str], index: int) -> bool:
    """Whether all shingles that contain the word are of a known text."""
    shingles = _shingles()
    return all(
        tuple(words[start : start + SHINGLE_WORDS]) in shingles
        for start in range(index - SHINGLE_WORDS + 1, index + 1)
        if start >= 0
    )


def _has_operative(words: Sequence[str]) -> bool:
    return any(word in _OPERATIVE or _COPYLEFT_WORD.match(word) for word in words)


def _gaps(covered: Sequence[bool]) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(covered):
        if covered[begin]:
            begin += 1
            continue
        end = begin
        while end < len(covered) and not covered[end]:
            end += 1
        yield begin, end
        begin = end


@lru_cache(maxsize=1)
def _shingles() -> frozenset[tuple[str, ...]]:
    folder = files("snow_assets.corpus") / "license_texts"
    shingles: set[tuple[str, ...]] = set()
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        text = file.read_text(encoding="utf-8")
        for part in text.split("\n%%\n") if file.name == "variants.txt" else [text]:
            words = normalized_words(part)
            shingles.update(
                tuple(words[start : start + SHINGLE_WORDS])
                for start in range(len(words) - SHINGLE_WORDS + 1)
            )
    return frozenset(shingles)


def _find_licenses(words: str) -> list[str]:
    """The licences whose sentences occur in a text, in the text's order."""
    positions: dict[str, int] = {}
    for name, sentence in _SENTENCES:
        position = words.find(sentence)
        if position >= 0:
            variant = _variant(name, words[position : position + 2_500])
            positions[variant] = min(position, positions.get(variant, position))
    if "Python-2.0" in positions:  # CPython's: PSF's, CWI's, and 0BSD for the manual's examples
        stack = [positions.pop(name) for name in ("PSF-2.0", "HPND", "0BSD") if name in positions]
        positions["Python-2.0"] = min([positions["Python-2.0"], *stack])
    return sorted(positions, key=lambda name: (positions[name], name))


def _variant(name: str, words: str) -> str:
    """Distinguish licences with the same beginning."""
    if name == "MIT" and "following conditions redistributions of source code must" in words:
        return "NCSA"
    if name == "MIT" and "is furnished to do so the software is provided" in words:
        return "MIT-0"
    if name == "ISC" and "provided that the above copyright" not in words:
        return "0BSD"
    if name == "BSD-3-Clause" and "all advertising materials mentioning" in words:
        return "BSD-4-Clause"
    if name == "BSD-3-Clause" and not re.search(
        r"neither the names? |names? of .{1,80} may not be|may not be used to endorse", words
    ):
        return "BSD-2-Clause"
    return name
