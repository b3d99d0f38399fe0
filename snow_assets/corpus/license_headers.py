"""Licence statements in a file's header: SPDX tags, and grants of non-permissive licences in words.

A header grant of a copyleft, non-commercial or proprietary licence overrides a permissive
repository. Grants of permissive licences in words are ignored: the repository's statement applies.
If a header offers a permissive licence as an alternative ("dual BSD/GPL"), the statement is the OR
of the two.
"""

import re
from collections.abc import Iterator

from snow_assets.corpus.license_statements import Statement, combine_statements
from snow_assets.corpus.spdx import conjunction

HEADER_BYTES = 4_096  # a licence header stands in a file's beginning

_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]*)", re.IGNORECASE)
_MAX_TAG_CHARS = 1_200
# End of a comment or a string after a tag, in any language: no letters, digits or brackets.
_TAG_END = re.compile(r"(?:\\[nrt]|</?\w+/?>|\*\)|[^A-Za-z0-9)+])+$")

# Prefilter: a header without any of these bytes (lower case) has no statement.
_HINTS = (
    b"licen",
    b"copyright",
    b"gpl",
    b"gnu",
    b"proprietary",
    b"confidential",
    b"perl",
    b"ruby",
    b"commercial",
    b"creative",
)
_WORD_BYTES = bytes(
    byte if chr(byte).isascii() and chr(byte).isalnum() else ord(" ") for byte in range(256)
)

_SAME_TERMS = r"(?:\b(?:terms?|licen[cs]es?|conditions) (?:as|of) (?:\w+ ){0,2}|\bas )$"
_COPYLEFT_NAMES = tuple(
    (literal, re.compile(before) if before else None, re.compile(behind) if behind else None)
    for literal, before, behind in (
        ("gpl", r"(?:^|[^a-z]|\b(?:l|a|w|lib))$", ""),
        ("general public", "", ""),
        ("public licen", r"^(?!.*(?:zope|want to) $)", ""),
        ("gnu licen", "", ""),
        ("gnu copyleft", "", ""),
        ("copyleft", "", ""),
        ("gfdl", "", ""),
        ("free documentation licen", "", ""),
        ("mpl", r"(?:^|\W)$", r"v?\d| v?\d| licen"),
        ("epl", r"(?:^|\W)$", r"v?\d| v ?\d| licen"),
        ("cddl", "", ""),
        ("development and distribution licen", "", ""),
        ("eclipse distribution licen", "", ""),
        ("business source licen", "", ""),
        ("elastic licen", "", ""),
        ("open software licen", "", ""),
        ("sleepycat licen", "", ""),
        ("apple public source", "", ""),
        ("artistic licen", "", ""),
        ("creative commons", "", r"(?: \w+){0,4}? (?:non ?commerc|share ?alike|no ?deriv)"),
        ("by nc", r"(?:^|\W)$", r"\b"),
        ("by sa", r"(?:^|\W)$", r"\b"),
        ("by nd", r"(?:^|\W)$", r"\b"),
        ("ruby licen", "", ""),
        ("perl", _SAME_TERMS, r"\b"),
        ("ruby", _SAME_TERMS + r"|licen[cs]e $", r"\b|s? licen"),
        ("not the right to distribute", "", ""),
    )
)
"""Names of non-permissive licences: a literal, and expressions before and after it."""
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
    r"|copying)|along with|licen[cs]ed|applies)\b"
)
_VERSION_ALONE = re.compile(
    r" (?:v ?|version )?(?:\d ){0,3}or (?:later|any later|newer|at your option)\b"
)
_VERSION_ALONE_CHARS = 600  # "LGPL 2.1 or later" is a grant at a file's top, a word elsewhere
_NO_GRANT = re.compile(
    r"(?:compatible|incompatible|compatibility) (?:with )?(?:the )?(?:gnu )?$|\b(?:non|not|no) $"
)
_COMPARISON = re.compile(r"\b(?:restrictive|incompatible|unlike|instead of)\b")
_HOLDER = re.compile(r"\b(?:copyright|c) (?:\d+ |\w+ ){1,8}(?:l|a|lib)?$")
_PERMISSIVE_NAME = r"(?:mit|x11|expat|bsd|isc|apache|zlib|boost software)"
_COPYLEFT_SHORT = r"(?:[la]?gpl\w*|general public|commercial)"
_OR = r"or(?! later| any| newer| at| greater| version)"
# A permissive licence offered as an alternative to the copyleft one.
_ALTERNATIVE = re.compile(
    rf"\b(?:dual(?:ly)? ?licen|dual {_PERMISSIVE_NAME}|(?:can|may|to) choose"
    r"|(?:choice|either|one) of (?:the )?(?:two|these|following)"
    rf"|{_PERMISSIVE_NAME}\b(?: \w+){{0,10}} {_OR}(?: \w+){{0,8}} {_COPYLEFT_SHORT}"
    rf"|{_COPYLEFT_SHORT}(?: \w+){{0,12}} {_OR}(?: \w+){{0,5}} {_PERMISSIVE_NAME}\b"
    rf"|alternatively(?: \w+){{0,30}} (?:{_COPYLEFT_SHORT}|{_PERMISSIVE_NAME})\b"
    rf"|terms of either\b.{{0,400}}\b2 the {_PERMISSIVE_NAME}\b)"
)
_ALTERNATIVE_CHARS = 500  # before and behind the copyleft licence's name
_PERMISSIVE_GRANT = re.compile(
    rf"\b{_PERMISSIVE_NAME}\b|permission is hereby granted free of charge"
    r"|redistribution and use in source and binary|permission to use copy modify"
)
_ACTS = (
    r"(?:(?:used|copied|reproduced|disclosed|distributed|modified|transmitted|transferred|or|and"
)
_ACTS += r"|in whole|in part) )+"
_PERSONS = r"(?:personal|academic|research|educational|evaluation)"
_PROPRIETARY_NOTICES = tuple(
    (literal, re.compile(notice) if notice else None)
    for literal, notice in (
        (
            "confidential",
            r"proprietary (?:and )?confidential|confidential (?:and )?proprietary"
            r"|strictly confidential",
        ),
        ("trade secret", ""),
        ("unauthorized", r"unauthorized (?:copying|use|reproduction|distribution|disclosure)"),
        (
            "not be ",
            rf"not be {_ACTS}(?:\w+ ){{0,12}}?without (?:the )?(?:(?:prior|express|written"
            r"|explicit) )+(?:permission|consent|approval|authorization|agreement)",
        ),
        ("express licen", r"without an express licen[cs]e agreement"),
        ("strictly prohibited", ""),
        ("commercial", r"non ?commercial (?:use|purposes?|research)"),
        ("use only", rf"for (?:\w+ ){{0,3}}?{_PERSONS}(?: \w+){{0,3}} use only"),
        ("purposes only", rf"for (?:\w+ ){{0,3}}?{_PERSONS}(?: \w+){{0,3}} purposes only"),
        ("unpublished", r"unpublished (?:work|source code|proprietary)"),
        ("proprietary", r"(?:is|are|contains?) (?:the )?proprietary"),
        (
            "no part of this",
            r"no part of this (?:software|code|file|program|document"
            r"|publication) may be",
        ),
    )
)
"""Notices that reserve a file's use: a literal, and an expression that must match around it."""
_CONTEXT_CHARS, _CONTEXT_WORDS = 120, 14


def stated_in_header(content: bytes) -> Statement | None:
    """The licence statement in a file's first HEADER_BYTES, or None.

    The statement is the conjunction of all SPDX tags and of a proprietary notice.
    """
    head = content[:HEADER_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    lowered = head.lower()
    for hint in _HINTS:
        if hint in lowered:
            break
    else:
        return None
    words = b" ".join(lowered.translate(_WORD_BYTES).split()).decode("ascii")
    statements = []
    if b"spdx-license-identifier" in lowered:
        expressions = [_expression(tag) for tag in _TAG.findall(head.decode("latin-1"))]
        if expressions:
            evidence = f"header: SPDX-License-Identifier: {', '.join(expressions)[:200]}"
            statements.append(Statement(conjunction(expressions), evidence))
    else:
        statements += _copyleft_grants(words)
    statements += _proprietary_grants(words)
    return combine_statements(statements) if statements else None


def _proprietary_grants(words: str) -> list[Statement]:
    """The first notice that reserves the file's use, if any."""
    for literal, notice in _PROPRIETARY_NOTICES:
        start = words.find(literal)
        while start >= 0:
            window = words[max(0, start - _CONTEXT_CHARS) : start + _CONTEXT_CHARS]
            if notice is None or notice.search(window):
                return [Statement("LicenseRef-proprietary", _evidence(words, start, start))]
            start = words.find(literal, start + len(literal))
    return []


def _copyleft_names(words: str) -> Iterator[tuple[int, int]]:
    """Yield the offsets of names of non-permissive licences."""
    for literal, before, behind in _COPYLEFT_NAMES:
        start = words.find(literal)
        while start >= 0:
            end = start + len(literal)
            is_name = before is None or before.search(words[max(0, start - 40) : start])
            if is_name and (behind is None or behind.match(words, end)):
                yield start, end
            start = words.find(literal, end)


def _copyleft_grants(words: str) -> list[Statement]:
    """The first grant in words of a non-permissive licence, if any."""
    for start, end in _copyleft_names(words):
        before = words[max(0, start - _CONTEXT_CHARS) : start]
        is_grant = not _GRANT_WORDS.isdisjoint(before.split()[-_CONTEXT_WORDS:])
        is_grant = is_grant or bool(_BEHIND_GRANT.match(words, end))
        if start < _VERSION_ALONE_CHARS:
            is_grant = is_grant or bool(_VERSION_ALONE.match(words, end))
        if not is_grant and not _HOLDER.search(before):
            continue
        context = before + words[end : end + _CONTEXT_CHARS]
        if _NO_GRANT.search(before) or _COMPARISON.search(context):
            continue
        near = words[max(0, start - _ALTERNATIVE_CHARS) : end + _ALTERNATIVE_CHARS]
        if _ALTERNATIVE.search(near) and _PERMISSIVE_GRANT.search(words):
            return []
        return [Statement("LicenseRef-copyleft", _evidence(words, start, end))]
    return []


def _evidence(words: str, start: int, end: int) -> str:
    return f"header: {words[max(0, start - 60) : end + 30]}"


def _expression(tag: str) -> str:
    """An SPDX tag's expression without the end of the comment."""
    expression = _TAG_END.sub("", tag[:_MAX_TAG_CHARS]).strip().replace("/", " AND ")
    if expression.endswith(")") and expression.count(")") > expression.count("("):
        expression = expression[:-1]
    return expression
