"""The file in an answer, and whether it can be one of its language."""

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pygments.lexers import get_lexer_by_name
from pygments.token import Token
from pygments.util import ClassNotFound

_LINE_END = re.compile(r"\r\n?")
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})(.*)$")
_DRAFT_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis"
_DRAFT_BEGIN = re.compile(rf"^\s*(?:<({_DRAFT_TAGS})>|\[(THINK)\])", re.IGNORECASE)
_DRAFT_END = re.compile(rf"(?:</({_DRAFT_TAGS})>|\[/(THINK)\])", re.IGNORECASE)
_DRAFT_END_LINE = re.compile(rf"^\s*{_DRAFT_END.pattern}", re.IGNORECASE)
_LABEL = re.compile(r"[\w.+#-]+")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_LEXERS = {"jupyter": "python", "shell": "bash"}

# Labels beyond a lexer's own names. Dialects and file endings count as their language.
_LABELS: Mapping[str, frozenset[str]] = {
    "c": frozenset({"h", "c99", "c11"}),
    "cpp": frozenset({"cc", "cxx", "h", "hpp", "hh", "c++11", "c++14", "c++17", "c++20"}),
    "csharp": frozenset({"cs", "dotnet"}),
    "javascript": frozenset({"cjs", "ecmascript", "es6", "jsx", "mjs", "node", "nodejs"}),
    "jupyter": frozenset({"ipython", "ipython3", "jupyter"}),
    "kotlin": frozenset({"kt", "kts"}),
    "python": frozenset({"pyi", "python3"}),
    "shell": frozenset({"ksh", "sh", "shell", "zsh"}),
    "sql": frozenset(
        {
            "ansisql",
            "mysql",
            "pgsql",
            "plpgsql",
            "postgres",
            "postgresql",
            "sqlite",
            "sqlite3",
            "tsql",
        }
    ),
    "typescript": frozenset({"mts", "cts", "tsx"}),
}


class Extraction(NamedTuple):
    """The file of an answer; or None, why there is none, and what shows it."""

    text: str | None
    reason: str | None = None
    evidence: str | None = None


class _Block(NamedTuple):
    label: str  # lower case; "": none
    text: str
    is_closed: bool


def extract_file(answer: str, *, language: str, is_whole: bool) -> Extraction:
    """The first fenced block that is of the language, by its label or, without one, by its text.

    Fences are CommonMark's (section 4.5): three or more backticks or tildes, closed by as many of
    the same or more, with any line ends. Reasoning drafts (`<think>`) are left out, with their
    blocks. A block that is never closed is no file: what follows it cannot be told from it.
    """
    blocks = _blocks(_LINE_END.sub("\n", answer))
    chosen = next((block for block in blocks if _has_label(block, language)), None)
    if chosen is None:
        chosen = next((block for block in blocks if _is_unlabelled(block, language)), None)
    if chosen is None:
        if not blocks or not any(block.text.strip() for block in blocks):
            return Extraction(None, "no_code" if is_whole or not blocks else "cut_off")
        labels = ", ".join(block.label or "without a label" for block in blocks)
        return Extraction(None, "wrong_language", f"blocks: {labels}; asked for: {language}")
    if not chosen.is_closed:
        return Extraction(None, "unclosed" if is_whole else "cut_off")
    return Extraction(chosen.text)


def _blocks(answer: str) -> list[_Block]:
    """The fenced blocks of an answer with LF line ends, in order, those of drafts left out."""
    blocks: list[_Block] = []
    label, indent, fence, lines = "", "", "", list[str]()
    is_draft = False
    for line in answer.split("\n"):
        if is_draft:
            is_draft = _DRAFT_END.search(line) is None
            continue
        if _DRAFT_END_LINE.match(line):  # of a draft whose beginning was part of the prompt
            blocks, fence = [], ""
            continue
        if fence:
            if _closes(line, fence):
                blocks.append(_Block(label, _file_text(lines, indent), is_closed=True))
                fence = ""
            else:
                lines.append(line)
        elif begin := _DRAFT_BEGIN.match(line):
            is_draft = _DRAFT_END.search(line, begin.end()) is None
        elif (opened := _FENCE.match(line)) and not (opened[2][0] == "`" and "`" in opened[3]):
            indent, fence, lines = opened[1], opened[2], []
            label = _label(opened[3])
    if fence:
        blocks.append(_Block(label, _file_text(lines, indent), is_closed=False))
    return blocks


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip(" \t")
    return len(stripped) >= len(fence) and not stripped.strip(fence[0])


def _file_text(lines: Sequence[str], indent: str) -> str:
    """A block's lines without the indentation that they share with their fence."""
    text = "\n".join(line.removeprefix(indent) for line in lines).strip("\n")
    return f"{text}\n" if text.strip() else ""


def _label(info: str) -> str:
    """`js`, `{.js}`, `js title=app.js`, `js:app.js` -> js; `app.js` -> js."""
    words = _LABEL.search(info.strip().lower())
    return words[0].rpartition(".")[2] if words else ""


def _has_label(block: _Block, language: str) -> bool:
    if not block.label or not block.text:
        return False
    if block.label == language or block.label in _LABELS.get(language, ()):
        return True
    try:
        lexer, labelled = _lexer(language), get_lexer_by_name(block.label)
    except ClassNotFound:
        return False
    return type(lexer) is type(labelled)


def _is_unlabelled(block: _Block, language: str) -> bool:
    """Whether a block without a label can be of the language: it parses, or where there is no
    parser, its brackets match and it has a keyword of the language and is no markup."""
    if block.label or not block.text:
        return False
    text = block.text.lstrip()
    if language in ("python", "jupyter"):
        return fault(text, "python") is None
    if (language != "php" and text.startswith("<")) or fault(text, language) is not None:
        return False
    return any(kind in Token.Keyword for kind, _ in _lexer(language).get_tokens(text))


def _lexer(language: str) -> Any:
    return get_lexer_by_name(_LEXERS.get(language, language))


def fault(text: str, language: str) -> str | None:
    """Why a text is no file of its language, or None.

    Python must compile; of other languages the brackets must match outside strings and comments,
    which shows a broken-off file but not a wrong one.
    """
    if "\x00" in text:
        return "holds a NUL character"
    return (
        _python_fault(text) if language in ("python", "jupyter") else _bracket_fault(text, language)
    )


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
        lexer = _lexer(language)
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
