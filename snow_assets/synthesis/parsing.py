"""The file in an answer, and whether it can be one of its language."""

import ast
import re
import warnings

from pygments.lexers import get_lexer_by_name
from pygments.token import Token
from pygments.util import ClassNotFound

_OPEN = re.compile(r"^[ \t]*```[^\n`]*\n", re.MULTILINE)
_CLOSE = re.compile(r"^[ \t]*```[ \t]*$", re.MULTILINE)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_LEXERS = {"jupyter": "python", "shell": "bash"}


def fenced(answer: str, *, is_whole: bool) -> tuple[str | None, str | None]:
    """The first fenced block's text, or None and the reason.

    An answer that was cut off (not `is_whole`) has a file only if it closed the block before.
    """
    opened = _OPEN.search(answer)
    if opened is None:
        return None, "no_code"
    closed = _CLOSE.search(answer, opened.end())
    if closed is None and not is_whole:
        return None, "cut_off"
    text = answer[opened.end() : closed.start() if closed else len(answer)].strip("\n")
    return (f"{text}\n", None) if text.strip() else (None, "no_code")


def fault(text: str, language: str) -> str | None:
    """Why a text is no file of its language, or None.

    Python must compile; of other languages the brackets must match outside strings and comments,
    which shows a broken-off file but not a wrong one.
    """
    if "\x00" in text:
        return "holds a NUL character"
    return _python_fault(text) if language == "python" else _bracket_fault(text, language)


def _python_fault(text: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in strings: the text is not ours
        try:
            compile(ast.parse(text), "<synthetic>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"{type(error).__name__}: {error}"
    return None


def _bracket_fault(text: str, language: str) -> str | None:
    try:
        lexer = get_lexer_by_name(_LEXERS.get(language, language))
    except ClassNotFound:
        return f"no lexer for {language}"
    waiting: list[str] = []
    for kind, value in lexer.get_tokens(text):
        if not (kind in Token.Punctuation or kind in Token.Operator):
            continue
        for char in value:
            if char in _PAIRS.values():
                waiting.append(char)
            elif char in _PAIRS and (not waiting or waiting.pop() != _PAIRS[char]):
                return f"{char!r} closes nothing"
    return f"{waiting[-1]!r} is never closed" if waiting else None
