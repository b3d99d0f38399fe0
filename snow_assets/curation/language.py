"""Which language a file is in, by its name, its first line and, where names are shared, its text.

The rules are those of github-linguist's heuristics.yml, in our own words, for the extensions that
the table of `corpus.extensions` shares among languages. Comments and strings decide nothing.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.corpus.extensions import extension, languages_by_name

_INTERPRETERS = {
    "bash": "shell",
    "dart": "dart",
    "dash": "shell",
    "deno": "typescript",
    "ksh": "shell",
    "kotlin": "kotlin",
    "node": "javascript",
    "nodejs": "javascript",
    "perl": "perl",
    "php": "php",
    "python": "python",
    "raku": "raku",
    "ruby": "ruby",
    "rust-script": "rust",
    "scala": "scala",
    "sh": "shell",
    "swift": "swift",
    "swipl": "prolog",
    "ts-node": "typescript",
    "zsh": "shell",
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
_ANY_OF_HEADERS = f"(?m){_OBJECTIVE_C}|{_CPP}"
_XML = r"\A\s*+(?:(?><!--[\s\S]*?-->)\s*+)*+<(?:\?xml\b|!DOCTYPE\b|TS\b|tileset\b)"

# By extension: what is tried in order, on a text whose line ends are \n. An empty expression always
# matches. `code` is matched without comments and strings, `text` as it is.
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


def language_of(path: str, text: str) -> str | None:
    """The language's name as recipes spell it, or None if neither name nor first line tells."""
    return languages_of([path], pa.array([text], pa.string()))[0]


def languages_of(paths: Sequence[str], texts: pa.Array) -> list[str | None]:
    """`language_of` each file. A text is looked at only where its path leaves the question open."""
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
    for row in _not_plain_c(headers, texts):
        languages[row] = _by_text("h", "c", texts[row].as_py())
    return languages


def _by_interpreter(text: str) -> str | None:
    shebang = _SHEBANG.match(text)
    return _INTERPRETERS.get(shebang.group(1).lower()) if shebang else None


def _by_text(ending: str, likeliest: str, text: str) -> str:
    """The first rule of a shared extension that matches."""
    rules = _RULES[ending]
    by_interpreter = _by_interpreter(text)
    if by_interpreter and any(by_interpreter == language for language, *_ in rules):
        return by_interpreter
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for language, kind, expression in rules:
        # Taking comments out costs more than all rules: only where a rule matches at all.
        if re.search(expression, text, re.MULTILINE) and (
            kind == "text" or re.search(expression, _without_comments(text), re.MULTILINE)
        ):
            return language
    return likeliest


def _without_comments(text: str) -> str:
    """C's comments and strings as blanks; what includes a file stays."""
    return _COMMENTS.sub(lambda match: match["kept"] or " ", text)


def _not_plain_c(rows: list[int], texts: pa.Array) -> list[int]:
    """Headers in which a word of C++ or Objective-C stands at all, perhaps in a comment."""
    headers = texts.take(pa.array(rows, pa.int64()))
    # RE2 is fast; its words are ASCII's and its lines end with \n: other texts are looked at.
    matches = pc.match_substring_regex(headers, _ANY_OF_HEADERS)
    unclear = pc.or_(pc.invert(pc.string_is_ascii(headers)), pc.match_substring(headers, "\r"))
    return [
        row
        for row, is_open in zip(rows, pc.or_(matches, unclear).to_pylist(), strict=True)
        if is_open
    ]
