"""What a file's own header states: SPDX tags, and grants in words of licences that do not permit.

A header grant of a copyleft, non-commercial or proprietary licence overrules a permissive
repository. Grants of permissive licences in words are not read: the repository's own statement
stands for them. Where a header offers a permissive licence as an alternative ("dual BSD/GPL"), the
statement is the OR of the two.
"""

import re

from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.spdx import conjunction

HEADER_BYTES = 4_096  # a licence header stands in a file's beginning

_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]*)")
_MAX_TAG_CHARS = 1_200
# What ends a comment or a string behind a tag, in any language.
_TAG_END = re.compile(
    r"(?:\\[nrt]|-->|\*+/|--?[#%}]?>?|#+|%?\}|\*\)|\?>|\"+|'+|`+|[,;.]|//+|\|#|=+|\s|</?\w+/?>)+$"
)

# Of a header that holds none of these bytes (lower case) no words are looked at.
_COPYLEFT_HINTS = (
    b"gpl", b"gnu", b"public lic", b"general", b"copyleft", b"commons", b"by-nc", b"by-sa",
    b"by-nd", b"mozilla", b"cddl", b"distribution lic", b"software lic", b"as perl", b"ruby",
    b"artistic", b"source lic", b"elastic", b"sleepycat", b"gfdl", b"free documentation",
)  # fmt: skip
_PROPRIETARY_HINTS = (
    b"proprietary", b"confidential", b"secret", b"unauthori", b"prohibited", b"commercial",
    b"unpublished", b"no part of", b"express lic", b"not be ", b"use only", b"purposes only",
    b"written",
)  # fmt: skip
_WORD_BYTES = bytes(
    byte if chr(byte).isascii() and chr(byte).isalnum() else ord(" ") for byte in range(256)
)

_COPYLEFT_NAME = re.compile(
    r"gpl|general public|gnu (?:copyleft )?licen|public licen|copyleft|gfdl"
    r"|free documentation licen|\bmpl\b|\bmplv?\d|\bepl\b|eclipse distribution licen|cddl"
    r"|development and distribution licen|business source licen|elastic licen|open software licen"
    r"|commons (?:\w+ ){0,4}?(?:non ?commerc|share ?alike|no ?deriv)|by (?:nc|sa|nd)\b"
    r"|as perl|ruby s? ?licen|artistic|sleepycat licen"
    r"|apple public source"
)
_GRANT_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    license licensed licenses licensing licence licenced licences licencing relicensed
    licensor distribute distributed distributes distribution redistribute redistributed
    release released releases covered governed available published provided subject terms
    conditions modify modified copied copying copy use used under falls issued permitted
    protected placed shared offered contributed according see received same
        """,
    )
)
_BEHIND_GRANT = re.compile(
    r"(?: licen[cs]es?)? (?:as published|for (?:more|further|full|the|complete|details|licen"
    r"|copying)|along with|licen[cs]ed|or (?:later|any later|at your option)|applies)\b"
)
_NO_GRANT = re.compile(
    r"(?:compatible|incompatible|compatibility) (?:with )?(?:the )?(?:gnu )?$|\b(?:non|not|no) $"
)
_PERMISSIVE_NAME = r"(?:mit|x11|expat|bsd|isc|apache|zlib|boost)"
_ALTERNATIVE = re.compile(
    rf"\bdual(?:ly)?\b|\balternatively\b|\beither\b.{{0,80}}\bor\b"
    rf"|\b{_PERMISSIVE_NAME}\b.{{0,60}}\bor\b.{{0,40}}(?:gpl|general public)"
    rf"|(?:gpl|general public).{{0,60}}\bor\b.{{0,40}}\b{_PERMISSIVE_NAME}\b"
    rf"|\b{_PERMISSIVE_NAME} gpl|gpl {_PERMISSIVE_NAME}\b"
)
_PERMISSIVE_GRANT = re.compile(
    rf"\b{_PERMISSIVE_NAME} (?:style )?(?:licen[cs]es?|licensed|or|and|gpl)\b"
    rf"|gpl (?:and )?(?:the )?{_PERMISSIVE_NAME}\b|permission is hereby granted free of charge"
    r"|redistribution and use in source and binary|permission to use copy modify"
)
_PROPRIETARY_GRANT = re.compile(
    r"\b(?:proprietary and confidential|confidential and proprietary|confidential proprietary"
    r"|strictly confidential|trade secrets?|unauthorized (?:copying|use|reproduction|distribution"
    r"|disclosure)|(?:not|neither) be (?:(?:used|copied|reproduced|disclosed|distributed|modified"
    r"|transmitted|transferred|or|and|in whole|in part) )+(?:\w+ ){0,12}?without (?:the )?"
    r"(?:(?:prior|express|written|explicit) )+"
    r"(?:permission|consent|approval|authorization|agreement)"
    r"|without an express licen[cs]e agreement|is strictly prohibited"
    r"|non ?commercial (?:use|purposes?|research)|for (?:\w+ ){0,3}?(?:personal|academic|research"
    r"|educational|evaluation|internal)(?: \w+){0,3} (?:use|purposes?) only"
    r"|unpublished (?:work|source code|proprietary)|(?:is|are|contains?) (?:the )?proprietary"
    r"|no part of this (?:software|code|file|program|document|publication) may be)"
)
_CONTEXT_CHARS, _CONTEXT_WORDS = 120, 14


def stated_in_header(content: bytes) -> Statement | None:
    """What the file says of itself in its first HEADER_BYTES, or None if it says nothing."""
    head = content[:HEADER_BYTES]
    tags = (
        [_expression(tag) for tag in _TAG.findall(head.decode("latin-1"))]
        if b"SPDX-License" in head
        else []
    )
    if tags:
        expression = conjunction(tags)
        return Statement(expression, f"header: SPDX-License-Identifier: {expression[:200]}")
    lowered = head.lower()
    may_be_copyleft = any(hint in lowered for hint in _COPYLEFT_HINTS)
    may_be_proprietary = any(hint in lowered for hint in _PROPRIETARY_HINTS)
    if not may_be_copyleft and not may_be_proprietary:
        return None
    words = b" ".join(lowered.translate(_WORD_BYTES).split()).decode("ascii")
    granted = _copyleft_grant(words) if may_be_copyleft else None
    if granted is None and may_be_proprietary:
        match = _PROPRIETARY_GRANT.search(words)
        granted = match and Statement("LicenseRef-proprietary", _evidence(words, match))
    return granted


def _copyleft_grant(words: str) -> Statement | None:
    """The first grant in words of a licence that does not permit."""
    for match in _COPYLEFT_NAME.finditer(words):
        before = words[max(0, match.start() - _CONTEXT_CHARS) : match.start()]
        is_grant = not _GRANT_WORDS.isdisjoint(before.split()[-_CONTEXT_WORDS:])
        if not is_grant and not _BEHIND_GRANT.match(words, match.end()):
            continue
        if _NO_GRANT.search(before):
            continue
        if _ALTERNATIVE.search(words) and _PERMISSIVE_GRANT.search(words):
            return None
        return Statement("LicenseRef-copyleft", _evidence(words, match))
    return None


def _evidence(words: str, match: re.Match[str]) -> str:
    return f"header: {words[max(0, match.start() - 60) : match.end() + 30]}"


def _expression(tag: str) -> str:
    """An SPDX tag's expression without what ends the comment behind it."""
    expression = tag[:_MAX_TAG_CHARS].strip()
    return _TAG_END.sub("", expression).strip().replace("/", " AND ")
