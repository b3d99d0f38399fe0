"""What is measured once per document, with no threshold in sight (see `filters`).

All of it is measured on the redacted text, that is, on what would be trained on.
"""

import ast
import re
import string
import warnings
from typing import Any

from tests.curation.reference.generated import is_generated

# StarCoder2's patterns (arXiv 2402.19173, section 3.4), each only where it is long.
_ENCODED = (
    re.compile(r"[A-Za-z0-9+/\n=]{64,}"),
    re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}"),
    re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}"),
)
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_ASCII_RUN = re.compile(r"[\x00-\x7f]+")


def signals(text: str, *, path: str, language: str) -> dict[str, Any]:
    """The columns of documents.SIGNALS, without the counts of redactions.

    num_lines: lines that `\\n`, `\\r\\n` or `\\r` end, and a last one that nothing ends.
    mean_line_chars, max_line_chars: without the line break; 0 in an empty text.
    alphabetic_share, alphanumeric_share: of all characters, Unicode letters (and digits).
    longest_encoded_chars, encoded_share: over runs that look like base64 (64 characters or more),
    hexadecimal bytes (8 or more) or \\u escapes (8 or more); overlapping runs count once.
    parses: `ast` of this Python accepts it; True for every language but Python.
    """
    lines = [len(line) for line in _LINE_BREAK.split(text)]
    if lines[-1] == 0:
        lines.pop()
    content = text.encode()
    letters, digits = _letters_and_digits(text, content)
    longest, encoded = _encoded(text)
    return {
        "num_bytes": len(content),
        "num_chars": len(text),
        "num_lines": len(lines),
        "mean_line_chars": sum(lines) / len(lines) if lines else 0.0,
        "max_line_chars": max(lines, default=0),
        "alphabetic_share": letters / len(text) if text else 0.0,
        "alphanumeric_share": (letters + digits) / len(text) if text else 0.0,
        "longest_encoded_chars": longest,
        "encoded_share": encoded / len(text) if text else 0.0,
        "is_generated": is_generated(text, path=path, language=language),
        "parses": language != "python" or _parses(text),
    }


def _letters_and_digits(text: str, content: bytes) -> tuple[int, int]:
    # bytes.translate counts ASCII, nearly all of code, 20 times as fast as str.isalpha.
    others = _ASCII_RUN.sub("", text) if len(content) > len(text) else ""
    letters = len(content) - len(content.translate(None, string.ascii_letters.encode()))
    digits = len(content) - len(content.translate(None, string.digits.encode()))
    letters += sum(map(str.isalpha, others))
    return letters, digits + sum(map(str.isalnum, others)) - sum(map(str.isalpha, others))


def _encoded(text: str) -> tuple[int, int]:
    spans = sorted(match.span() for pattern in _ENCODED for match in pattern.finditer(text))
    covered, end = 0, 0
    for start, stop in spans:
        covered += max(0, stop - max(start, end))
        end = max(end, stop)
    return max((stop - start for start, stop in spans), default=0), covered


def _parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file's own: invalid escapes, `is` with a literal
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
