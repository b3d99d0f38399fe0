"""Detect private keys: PEM (RFC 7468, RFC 1421), OpenPGP's armor (RFC 9580), PuTTY's files.

A key requires Base64 between the markers, as in files, in string literals (`\\n`, quotes, `+`) or
in comments. A key without an end marker requires 128 characters.
"""

import re

Span = tuple[int, int]

_MARKER = r"(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_HEADER = (
    r"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash|MessageID)"
    r"[ \t]*:(?:(?!-----)[^\n\\\"']){0,200}"
)
# Separators of Base64 lines in code and comments; brackets and colons occur in other code.
_SEPARATOR = r"""\\[nrt]|[\s"'`+,.#*|>&;\\]|//"""
KEY_BLOCK = re.compile(
    rf"-----BEGIN {_MARKER}((?:{_HEADER}|[A-Za-z0-9+/=]|{_SEPARATOR}){{0,40000}}+)"
    rf"(-----END {_MARKER})?",
    re.ASCII,
)
PUTTY_LINES = re.compile(
    r"Private-Lines: \d{1,4}(?:\r?\n|\\n)"
    r"((?:[A-Za-z0-9+/=]{4,64}(?:\r?\n|\\n|(?=[\"'])|\Z)){1,200}+)",
    re.ASCII,
)
_MIN_MATERIAL_CHARS = 40
_MIN_CUT_MATERIAL_CHARS = 128
_LINE = re.compile(r"[A-Za-z0-9+/=]{16,}")
_IN_LITERALS = re.compile(r"[\"'`]")


def key_block_spans(match: re.Match[str]) -> list[Span]:
    """The spans to replace in a match of `KEY_BLOCK`: all of it, or its lines in several literals.

    Empty if there is no key between the markers. Where the key is split over string literals, only
    the Base64 in them is replaced, so that the code remains valid.
    """
    body, is_complete = match[1], match[2] is not None
    material = re.sub(_HEADER, "", body)
    lines = _LINE.findall(material)
    num_chars = sum(map(len, lines))
    num_word_chars = sum(
        map(len, re.findall(r"[A-Za-z0-9+/=]+", re.sub(r"\\[nrt]", " ", material)))
    )
    min_chars = _MIN_MATERIAL_CHARS if is_complete else _MIN_CUT_MATERIAL_CHARS
    if num_chars < min_chars or num_chars < 0.75 * num_word_chars or len(set("".join(lines))) < 12:
        return []
    if is_complete and _IN_LITERALS.search(body) is None:
        return [match.span()]
    start = match.start(1)
    return [(start + line.start(), start + line.end()) for line in _LINE.finditer(body)]
