"""Go's regular expressions (RE2 syntax) as Python's.

What differs in gitleaks' rules: flags that stand in the middle of a group and hold to its end,
`\\z`, `$` for the end of the text alone, and POSIX classes. Everything else is written alike.
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
    """Translate a pattern; whether Python reads the result is said by `re.compile`."""
    pieces: list[str] = []
    open_flags: list[list[str]] = [[]]  # per open group: flag groups that end with it
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if flags := _FLAGS.match(pattern, at):
            open_flags[-1].append(f"(?{flags[1]}:")
            pieces.append(open_flags[-1][-1])
            at = flags.end()
            continue
        if char == "[" and (members := _CLASS.match(pattern, at)):
            pieces.append(_python_class(members[0]))
            at = members.end()
            continue
        if char == "\\":
            pieces.append("\\Z" if pattern[at + 1] == "z" else pattern[at : at + 2])
            at += 2
            continue
        if char == "(":
            open_flags.append([])
        elif char == ")":
            pieces.append(")" * len(open_flags.pop()))
        elif char == "|":  # a flag holds beyond an alternative, a group of Python's does not
            pieces.append(")" * len(open_flags[-1]) + "|" + "".join(open_flags[-1]))
        pieces.append({"$": "\\Z", "|": ""}.get(char, char))
        at += 1
    pieces.append(")" * len(open_flags.pop()))
    return "".join(pieces)


def _python_class(members: str) -> str:
    """A character class with POSIX names spelled out and `[` escaped inside it."""
    for name, replacement in _POSIX.items():
        members = members.replace(name, replacement)
    inner = re.sub(r"\\.|\[", lambda part: part[0] if part[0] != "[" else r"\[", members[1:-1])
    return f"[{inner}]"
