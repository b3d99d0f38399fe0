"""Extract the source file from a completion, and check its syntax."""

import ast
import importlib
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from pygments.lexers import get_lexer_by_name
from pygments.token import Token
from pygments.util import ClassNotFound

from snow_assets.languages import language_spec

_LINE_END = re.compile(r"\r\n?")
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})(.*)$")
_REASONING_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis"
_REASONING_BEGIN = re.compile(rf"^\s*(?:<({_REASONING_TAGS})>|\[(THINK)\])", re.IGNORECASE)
_REASONING_END = re.compile(rf"(?:</({_REASONING_TAGS})>|\[/(THINK)\])", re.IGNORECASE)
_REASONING_END_LINE = re.compile(rf"^\s*{_REASONING_END.pattern}", re.IGNORECASE)
_LABEL = re.compile(r"[\w.+#-]+")
_PHP_TAG = re.compile(r"<\?(?:php\b|=)", re.IGNORECASE)
_EVIDENCE_BYTES = 40
_PAIRS = {")": "(", "]": "[", "}": "{"}


class Extraction(NamedTuple):
    """The file of a completion; or None, with a reason and evidence."""

    text: str | None
    reason: str | None = None
    evidence: str | None = None


class _Block(NamedTuple):
    label: str  # lower case; "": none
    text: str
    is_closed: bool


def extract_file(completion: str, *, language: str, is_whole: bool) -> Extraction:
    """Extract the first fenced block of the language, by its label or else by its content.

    Fences are CommonMark's (section 4.5): three or more backticks or tildes, closed by as many of
    the same or more, with any line ends. Reasoning (`<think>`) is skipped, with its blocks. An
    unclosed block is rejected: it cannot be separated from the text after it.
    """
    blocks = _blocks(_LINE_END.sub("\n", completion))
    block = next((candidate for candidate in blocks if _has_label(candidate, language)), None)
    if block is None:
        block = next(
            (candidate for candidate in blocks if _is_unlabelled(candidate, language)), None
        )
    if block is None:
        if not blocks or not any(candidate.text.strip() for candidate in blocks):
            return Extraction(None, "no_code" if is_whole or not blocks else "cut_off")
        labels = ", ".join(candidate.label or "without a label" for candidate in blocks)
        return Extraction(None, "wrong_language", f"blocks: {labels}; asked for: {language}")
    if not block.is_closed:
        return Extraction(None, "unclosed" if is_whole else "cut_off")
    return Extraction(block.text)


def _blocks(completion: str) -> list[_Block]:
    """The fenced blocks of a completion with LF line ends, in order, without those in reasoning."""
    blocks: list[_Block] = []
    label, indent, fence, lines = "", "", "", list[str]()
    is_reasoning = False
    for line in completion.split("\n"):
        if is_reasoning:
            is_reasoning = _REASONING_END.search(line) is None
            continue
        if _REASONING_END_LINE.match(line):  # of reasoning whose start tag was part of the prompt
            blocks, fence = [], ""
            continue
        if fence:
            if _closes(line, fence):
                blocks.append(_Block(label, _file_text(lines, indent), is_closed=True))
                fence = ""
            else:
                lines.append(line)
        elif reasoning := _REASONING_BEGIN.match(line):
            is_reasoning = _REASONING_END.search(line, reasoning.end()) is None
        elif (opening := _FENCE.match(line)) and not (opening[2][0] == "`" and "`" in opening[3]):
            indent, fence, lines = opening[1], opening[2], []
            label = _label(opening[3])
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
    if block.label == language or block.label in language_spec(language).block_labels.split():
        return True
    try:
        lexer, labelled = _lexer(language), get_lexer_by_name(block.label)
    except ClassNotFound:
        return False
    return type(lexer) is type(labelled)


def _is_unlabelled(block: _Block, language: str) -> bool:
    """Whether a block without a label can be of the language: it parses, or without a parser its
    brackets match, it has a keyword of the language and is no markup."""
    if block.label or not block.text:
        return False
    text = block.text.lstrip()
    if language in ("python", "jupyter"):
        return syntax_error(text, "python") is None
    if (language != "php" and text.startswith("<")) or syntax_error(text, language) is not None:
        return False
    return any(kind in Token.Keyword for kind, _ in _lexer(language).get_tokens(text))


def _lexer(language: str) -> Any:
    return get_lexer_by_name(language_spec(language).lexer or language)


def syntax_error(text: str, language: str) -> str | None:
    """Description of a text's syntax error, or None.

    Python must compile, and a language with a tree-sitter grammar must parse by it. In the others
    the brackets must match outside strings and comments, which finds truncated files, not all
    invalid ones. PHP must have an opening tag, without which it would be text that parses always.
    tree-sitter's grammars are lenient: of texts with `= =` in the place of one operator or bracket,
    4 to 18 of 20 pass, by language, where matching brackets pass 10 to 19.
    """
    if "\x00" in text:
        return "holds a NUL character"
    if language in ("python", "jupyter"):
        return _python_syntax_error(text)
    if language == "php" and not _PHP_TAG.search(text):
        return "no <?php"
    if grammars := language_spec(language).grammars.split():
        errors = [_grammar_error(text, grammar) for grammar in grammars]
        return errors[0] if all(errors) else None
    return _bracket_error(text, language)


def _python_syntax_error(text: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in strings
        try:
            compile(ast.parse(text), "<synthetic>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"{type(error).__name__}: {error}"
    return None


def _grammar_error(text: str, grammar: str) -> str | None:
    """The first node that tree-sitter could not parse, or had to insert; None if there is none."""
    root = _parser(grammar).parse(text.encode(errors="replace")).root_node
    if not root.has_error:
        return None
    node = root
    while not (node.is_error or node.is_missing):
        node = next(child for child in node.children if child.has_error or child.is_missing)
    line = node.start_point.row + 1
    if node.is_missing:
        return f"line {line}: {node.type!r} is missing"
    source = node.text or b""
    return f"line {line}: unexpected {source[:_EVIDENCE_BYTES].decode(errors='replace')!r}"


@cache
def _parser(grammar: str) -> Any:
    from tree_sitter import Language, Parser

    module, _, function = grammar.partition(":")
    return Parser(Language(getattr(importlib.import_module(module), function)()))


def _bracket_error(text: str, language: str) -> str | None:
    try:
        lexer = _lexer(language)
    except ClassNotFound:
        return f"no lexer for {language}"
    open_brackets: list[str] = []
    for kind, value in lexer.get_tokens(text):
        if not (kind in Token.Punctuation or kind in Token.Operator):
            continue
        for char in value:
            if char in _PAIRS.values():
                open_brackets.append(char)
            elif char in _PAIRS and (not open_brackets or open_brackets.pop() != _PAIRS[char]):
                return f"{char!r} closes nothing"
    return f"{open_brackets[-1]!r} is never closed" if open_brackets else None
