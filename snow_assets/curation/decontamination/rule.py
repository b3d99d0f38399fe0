"""Constants of the contamination rule that the filter and the gate share.

Each has its own matcher (`renamed_identifiers`, `gate`), so that each can reveal a
bug of the other.
"""

import builtins
import keyword
from functools import cache

MIN_WORD_SHARE = 0.25
"""Minimum fraction of words in a window's tokens, which excludes tables of numbers and strings:
tables of the same form always match. In 5,538 files (67 MB) of installed packages, tables are the
only accidental matches of 32 tokens; at 24 tokens an idiom of two nested loops matches, too."""

RENAMED, DESCRIPTION = "renamed", "description"
GATE_METHODS = (RENAMED, DESCRIPTION)
"""Methods of hits that the gate would find, too: renamed programs, descriptions word by word."""

_OTHER_KEYWORDS = (
    "catch const default do extends fn func function implements interface let mut namespace new "
    "null private protected public static struct switch template this throw true false typedef "
    "undefined var void self"
)
_BUILTIN_TYPES = (bool, bytes, dict, float, int, list, set, str, tuple)


@cache
def fixed_names() -> frozenset[str]:
    """Names that renaming does not change: keywords of several languages, Python's builtins."""
    names = {*keyword.kwlist, *dir(builtins), *_OTHER_KEYWORDS.split()}
    for kind in _BUILTIN_TYPES:
        names.update(dir(kind))
    return frozenset(names)
