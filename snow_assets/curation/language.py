"""Detect a file's language by name, shebang and, for ambiguous extensions, text.

The rules reimplement github-linguist's heuristics.yml for the extensions that `corpus.extensions`
lists for several languages. Comments and strings are ignored.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.corpus.extensions import extension, languages_by_name
from snow_assets.languages import LANGUAGES

_INTERPRETERS = {
    name: language for language, spec in LANGUAGES.items() for name in spec.interpreters.split()
}
_SHEBANG = re.compile(r"#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-\S+[ \t]+)*)?([A-Za-z-]+)[\d.]*")
_OBJECTIVE_C = (
    r"^[ \t]*@(?:interface|class|protocol|property|end|synchronized|selector|implementation)\b"
    r"|^[ \t]*#[ \t]*import\b"
)
_CPP = (
    r"^[ \t]*(?:template[ \t]*<|namespace\b|using[ \t]+(?:namespace\b|\w+[ \t]*=)"
    r"|class[ \t]+\w|(?:public|private|protected)[ \t]*:|extern[ \t]+\"C\+\+\")"
    r"|\bstd::|\b(?:static|const|reinterpret|dynamic)_cast[ \t]*<|\bconstexpr\b|\bnoexcept\b"
    r"|#[ \t]*include[ \t]*<(?:algorithm|atomic|cstddef|cstdint|cstdio|cstdlib|cstring|functional"
    r"|iostream|map|memory|mutex|sstream|string|tuple|unordered_map|utility|vector)>"
)
_OBJECTIVE_C_OR_CPP = f"(?m){_OBJECTIVE_C}|{_CPP}"
_XML = r"\A\s*+(?:(?><!--[\s\S]*?-->)\s*+)*+<(?:\?xml\b|!DOCTYPE\b|TS\b|tileset\b)"

# By extension: rules in order of evaluation, on a text with \n line ends. An empty expression
# always matches. `code` is matched without comments and strings, `text` with them.
_RULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "h": (("objective-c", "code", _OBJECTIVE_C), ("cpp", "code", _CPP), ("c", "text", "")),
    "hh": (("hack", "text", r"\A\s*<\?hh\b"), ("cpp", "text", "")),
    "php": (("hack", "text", r"\A(?:#!.*\n)?\s*<\?hh\b"), ("php", "text", "")),
    "ts": (("xml", "text", _XML), ("typescript", "text", "")),
    "tsx": (("xml", "text", _XML), ("typescript", "text", "")),
    "cs": (("smalltalk", "code", r"![\w\s]+methodsFor: "), ("csharp", "text", "")),
    "rs": (
        ("xml", "text", _XML),
        ("renderscript", "code", r"^[ \t]*#[ \t]*(?:include|pragma[ \t]+(?:rs|version))\b"),
        ("rust", "text", ""),
    ),
    "sc": (
        (
            "scala",
            "code",
            r"^[ \t]*(?:import[ \t]+[\w$.`]+|package[ \t]+\w|(?:case[ \t]+)?object[ \t]+\w"
            r"|trait[ \t]+\w|def[ \t]+\w|val[ \t]+\w|case[ \t]+class\b)",
        ),
        (
            "supercollider",
            "code",
            r"\^(?:this|super)\.|^[ \t]*~\w+[ \t]*=|\bSynthDef\b|\.(?:ar|kr)\b[ \t]*\("
            r"|^[+ \t]*[A-Z]\w*[ \t]*(?::[ \t]*[A-Z]\w*[ \t]*)?\{|^[ \t]*\*\w+[ \t]*\{",
        ),
        ("scala", "text", ""),
    ),
    "pl": (
        ("raku", "text", r"^[ \t]*use[ \t]+v6\b"),
        (
            "perl",
            "text",
            r"^[ \t]*(?:use[ \t]+(?:strict|warnings|vars|lib|v?5)\b|package[ \t]+\w|require[ \t]"
            r"|(?:my|our|local)[ \t]*[$@%(]|sub[ \t]+\w+)|^[ \t]*[$@%]\w+[ \t]*=",
        ),
        (
            "prolog",
            "text",
            r"^[ \t]*:-|^[a-z]\w*(?:\([^#\n]*\))?[ \t]*(?::-|-->)|^[a-z]\w*\([^#\n]*\)\.[ \t]*$",
        ),
        ("perl", "text", ""),
    ),
    "pm": (
        ("raku", "text", r"^[ \t]*use[ \t]+v6\b|^[ \t]*unit[ \t]+(?:module|class)\b"),
        ("perl", "text", ""),
    ),
    "m": (
        ("objective-c", "code", _OBJECTIVE_C + r"|^[ \t]*#[ \t]*(?:include|define|pragma|if)\b"),
        ("mercury", "text", r"^[ \t]*:-[ \t]*module\b"),
        ("mathematica", "text", r"^\(\*|^BeginPackage\["),
        ("matlab", "text", ""),
    ),
    "v": (
        (
            "coq",
            "text",
            r"(?:^|\s)(?:Proof|Qed)\.(?:$|\s)|(?:^|\s)Require[ \t]+(?:Import|Export)\s"
            r"|^[ \t]*(?:Theorem|Lemma|Fixpoint|Inductive)[ \t]+\w",
        ),
        (
            "vlang",
            "code",
            r"^[ \t]*(?:pub[ \t]+)?fn[ \t]+[^\n{]*\{|\$(?:if|else)[ \t]|^[ \t]*for[ \t]*\{",
        ),
        (
            "verilog",
            "code",
            r"^[ \t]*(?:module|primitive|package)[ \t]+\w+"
            r"(?:[ \t]*[;(#]|[ \t]*$)|^[ \t]*`\w|^[ \t]*always\b|^[ \t]*initial[ \t]+(?:begin|@)",
        ),
        ("verilog", "text", ""),
    ),
}
_COMMENTS = re.compile(
    r"""(?P<kept>^[ \t]*\#[ \t]*(?:include|import)\b[^\n]*|extern[ \t]+"C\+\+")"""
    r"""|"(?:\\.|[^"\\\n])*+"?|'(?:\\.|[^'\\\n]){1,8}'|//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)""",
    re.MULTILINE,
)


def languages_of(paths: Sequence[str], texts: pa.Array) -> list[str | None]:
    """The language of each file, as recipes name it; None if neither name nor shebang determines
    it. A text is read only if the path is ambiguous."""
    languages: list[str | None] = []
    headers: list[int] = []
    for row, path in enumerate(paths):
        by_name = languages_by_name(path)
        languages.append(by_name[0] if by_name else None)
        if extension(path) == "h":
            headers.append(row)
        elif not by_name:
            languages[row] = _by_interpreter(texts[row].as_py())
        elif len(by_name) > 1:
            languages[row] = _by_text(extension(path), by_name[0], texts[row].as_py())
    for row in _unclear_headers(headers, texts):
        languages[row] = _by_text("h", "c", texts[row].as_py())
    return languages


def _by_interpreter(text: str) -> str | None:
    shebang = _SHEBANG.match(text)
    return _INTERPRETERS.get(shebang.group(1).lower()) if shebang else None


def _by_text(file_extension: str, default: str, text: str) -> str:
    """The language of the first matching rule of an ambiguous extension."""
    rules = _RULES[file_extension]
    by_interpreter = _by_interpreter(text)
    if by_interpreter and any(by_interpreter == language for language, *_ in rules):
        return by_interpreter
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for language, kind, expression in rules:
        # Removing comments costs more than all rules, so it is done only after a match.
        if re.search(expression, text, re.MULTILINE) and (
            kind == "text" or re.search(expression, _without_comments(text), re.MULTILINE)
        ):
            return language
    return default


def _without_comments(text: str) -> str:
    """Replace C-style comments and strings by blanks; includes stay."""
    return _COMMENTS.sub(lambda match: match["kept"] or " ", text)


def _unclear_headers(rows: list[int], texts: pa.Array) -> list[int]:
    """Headers with a keyword of C++ or Objective-C, possibly in a comment."""
    headers = texts.take(pa.array(rows, pa.int64()))
    # RE2 is fast, but its \\w is ASCII and its lines end with \\n: other texts are unclear.
    matches = pc.match_substring_regex(headers, _OBJECTIVE_C_OR_CPP)
    needs_re = pc.or_(pc.invert(pc.string_is_ascii(headers)), pc.match_substring(headers, "\r"))
    return [
        row
        for row, is_unclear in zip(rows, pc.or_(matches, needs_re).to_pylist(), strict=True)
        if is_unclear
    ]
