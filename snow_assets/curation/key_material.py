"""Private keys as text: PEM (RFC 7468, RFC 1421), OpenPGP's armor (RFC 9580), PuTTY's files.

Two markers alone are no key: between them must stand Base64, as it stands in files, in string
literals (`\\n`, quotes, `+`) and in comments. A key without its end counts from 128 characters.
"""

import re

Span = tuple[int, int]

_MARKER = r"(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_HEADER = (
    r"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash|MessageID)"
    r"[ \t]*:(?:(?!-----)[^\n\\\"']){0,200}"
)
# What joins lines of Base64 in code and comments; no bracket and no colon, which code has.
_GLUE = r"""\\[nrt]|[\s"'`+,.#*|>&;\\]|//"""
KEY_BLOCK = re.compile(
    rf"-----BEGIN {_MARKER}((?:{_HEADER}|[A-Za-z0-9+/=]|{_GLUE}){{0,40000}}+)(-----END {_MARKER})?",
    re.ASCII,
)
PUTTY_LINES = re.compile(
    r"Private-Lines: \d{1,4}(?:\r?\n|\\n)"
    r"((?:[A-Za-z0-9+/=]{4,64}(?:\r?\n|\\n|(?=[\"'])|\Z)){1,200}+)",
    re.ASCII,
)
_MIN_MATERIAL_CHARS = 40
_MIN_CUT_MATERIAL_CHARS = 128
_MIN_LINE_CHARS = 16
_LINE = re.compile(r"[A-Za-z0-9+/=]{16,}")
_IN_LITERALS = re.compile(r"[\"'`]")


def key_block_spans(match: re.Match[str]) -> list[Span]:
    """What to replace of a match of `KEY_BLOCK`: all of it, or its lines within several literals.

    Empty if what stands between the markers is no key. Where string literals end and begin between
    the markers, only the Base64 in them goes, so that the code around stays code.
    """
    body, is_complete = match[1], match[2] is not None
    material = re.sub(_HEADER, "", body)
    lines = _LINE.findall(material)
    num_chars = sum(map(len, lines))
    words = sum(map(len, re.findall(r"[A-Za-z0-9+/=]+", re.sub(r"\\[nrt]", " ", material))))
    least = _MIN_MATERIAL_CHARS if is_complete else _MIN_CUT_MATERIAL_CHARS
    if num_chars < least or num_chars < 0.75 * words or len(set("".join(lines))) < 12:
        return []
    if is_complete and _IN_LITERALS.search(body) is None:
        return [match.span()]
    start = match.start(1)
    return [(start + line.start(), start + line.end()) for line in _LINE.finditer(body)]
