"""Translate Go's regular expressions (RE2 syntax) to Python's.

The differences in gitleaks' rules: flags in the middle of a group that apply until its end, `\\z`,
`$` for the end of the text only, and POSIX classes.
"""

import re

_POSIX = {
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:xdigit:]": "0-9A-Fa-f",
}
_FLAGS = re.compile(r"\(\?(-?[ims]+)\)")
_CLASS = re.compile(r"\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)


def go_to_python(pattern: str) -> str:
    """Translate a pattern; `re.compile` validates the result."""
    parts: list[str] = []
    open_flags: list[list[str]] = [[]]  # per open group: flag groups that end with it
    offset = 0
    while offset < len(pattern):
        char = pattern[offset]
        if flags := _FLAGS.match(pattern, offset):
            open_flags[-1].append(f"(?{flags[1]}:")
            parts.append(open_flags[-1][-1])
            offset = flags.end()
            continue
        if char == "[" and (members := _CLASS.match(pattern, offset)):
            parts.append(_python_class(members[0]))
            offset = members.end()
            continue
        if char == "\\":
            parts.append("\\Z" if pattern[offset + 1] == "z" else pattern[offset : offset + 2])
            offset += 2
            continue
        if char == "(":
            open_flags.append([])
        elif char == ")":
            parts.append(")" * len(open_flags.pop()))
        elif char == "|":  # in Go a flag also applies to the next alternatives
            parts.append(")" * len(open_flags[-1]) + "|" + "".join(open_flags[-1]))
        parts.append({"$": "\\Z", "|": ""}.get(char, char))
        offset += 1
    parts.append(")" * len(open_flags.pop()))
    return "".join(parts)


def _python_class(members: str) -> str:
    """A character class with POSIX names spelled out and `[` escaped inside it."""
    for name, replacement in _POSIX.items():
        members = members.replace(name, replacement)
    inner = re.sub(r"\\.|\[", lambda part: part[0] if part[0] != "[" else r"\[", members[1:-1])
    return f"[{inner}]"
