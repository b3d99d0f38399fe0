"""What counts as a leak of a benchmark problem: the data that filter and gate share.

Each has a matcher of its own for it, `renamed` and `leaks`: a fault in one shows in the other.
"""

import builtins
import keyword
from functools import cache

MIN_WORD_SHARE = 0.25
"""Of a window's tokens that are words. Windows of numbers, strings and commas are tables, and all
tables of a kind agree. In 5,538 files (67 MB) of installed packages they are all that agrees by
accident over 32 tokens; over 24, an idiom of two nested loops does too."""

RENAMED, DESCRIPTION = "renamed", "description"
LEAK_METHODS = (RENAMED, DESCRIPTION)
"""How the filter found a leak: a program under other names, a description word by word."""

_OTHER_KEYWORDS = (
    "catch const default do extends fn func function implements interface let mut namespace new "
    "null private protected public static struct switch template this throw true false typedef "
    "undefined var void self"
)
_BUILTIN_TYPES = (bool, bytes, dict, float, int, list, set, str, tuple)


@cache
def fixed_names() -> frozenset[str]:
    """Names that a renamed program keeps: keywords of several languages, Python's builtins."""
    names = {*keyword.kwlist, *dir(builtins), *_OTHER_KEYWORDS.split()}
    for kind in _BUILTIN_TYPES:
        names.update(dir(kind))
    return frozenset(names)
