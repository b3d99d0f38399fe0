"""Which language a file is in, by its name, its first line and, where names lie, its content.

A small table of our own: the recipe's 18 languages, and those that often stand beside them, so
that a README is `language_not_in_recipe` rather than `unknown_language`.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

_EXTENSIONS = {
    "c": "c",
    "cpp": "cpp cc cxx c++ hpp hh hxx h++ ipp tpp inl cu cuh",
    "csharp": "cs csx",
    "dart": "dart",
    "go": "go",
    "java": "java",
    "javascript": "js mjs cjs jsx",
    "jupyter": "ipynb",
    "kotlin": "kt kts",
    "php": "php phtml php3 php4 php5",
    "python": "py pyi pyw",
    "ruby": "rb rake gemspec ru",
    "rust": "rs",
    "scala": "scala sc sbt",
    "shell": "sh bash zsh ksh",
    "sql": "sql ddl dml",
    "swift": "swift",
    "typescript": "ts tsx mts cts",
    # Not in the paper's list:
    "assembly": "s asm",
    "batch": "bat cmd",
    "cmake": "cmake",
    "css": "css scss sass less",
    "csv": "csv tsv",
    "cython": "pyx pxd pxi",
    "fortran": "f f90 f95 for",
    "graphviz": "dot gv",
    "haskell": "hs",
    "html": "html htm xhtml",
    "ini": "ini cfg conf toml properties",
    "jinja": "j2 jinja jinja2",
    "json": "json jsonl geojson webmanifest",
    "julia": "jl",
    "lua": "lua",
    "markdown": "md markdown mdx",
    "matlab": "m",
    "owl": "owl",
    "perl": "pl pm",
    "powershell": "ps1 psm1",
    "protobuf": "proto",
    "r": "r",
    "roff": "roff man 1 2 3 5 8",
    "rst": "rst",
    "smt": "smt smt2",
    "tex": "tex sty cls bib",
    "text": "txt text log",
    "vue": "vue",
    "xml": "xml xsd xsl xslt svg",
    "yaml": "yaml yml",
}
_BY_EXTENSION = {
    extension: language for language, names in _EXTENSIONS.items() for extension in names.split()
}
_BY_NAME = {
    ".bash_profile": "shell",
    ".bashrc": "shell",
    ".profile": "shell",
    "cmakelists.txt": "cmake",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "jenkinsfile": "groovy",
    "license": "text",
    "makefile": "make",
    "pkgbuild": "shell",
    "podfile": "ruby",
    "rakefile": "ruby",
    "readme": "text",
    "sconstruct": "python",
    "vagrantfile": "ruby",
}
_INTERPRETERS = {
    "bash": "shell", "dart": "dart", "dash": "shell", "deno": "typescript", "ksh": "shell",
    "kotlin": "kotlin", "node": "javascript", "nodejs": "javascript", "php": "php",
    "python": "python", "ruby": "ruby", "rust-script": "rust", "scala": "scala", "sh": "shell",
    "swift": "swift", "ts-node": "typescript", "zsh": "shell",
}  # fmt: skip
_SHEBANG = re.compile(r"#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-\S+[ \t]+)*)?([A-Za-z-]+)[\d.]*")
_CPP = re.compile(
    r"^[ \t]*(?:template[ \t]*<|namespace\b|using[ \t]+(?:namespace\b|\w+[ \t]*=)"
    r"|class[ \t]+\w|(?:public|private|protected)[ \t]*:|extern[ \t]+\"C\+\+\")"
    r"|\bstd::|\b(?:static|const|reinterpret|dynamic)_cast[ \t]*<|\bconstexpr\b|\bnoexcept\b"
    r"|#[ \t]*include[ \t]*<(?:algorithm|atomic|cstddef|cstdint|cstdio|cstdlib|cstring|functional"
    r"|iostream|map|memory|mutex|sstream|string|tuple|unordered_map|utility|vector)>",
    re.MULTILINE,
)
_C_OR_CPP = "c or cpp"
_QT_TS = re.compile(r"\s*<\?xml|\s*<!DOCTYPE TS")


def language_of(path: str, text: str) -> str | None:
    """The language's name as recipes spell it, or None if neither name nor first line tells."""
    return languages_of([path], pa.array([text], pa.string()))[0]


def languages_of(paths: Sequence[str], texts: pa.Array) -> list[str | None]:
    """`language_of` each file. A text is looked at only where its path leaves the question open."""
    found = [_by_path(path) for path in paths]
    headers = [row for row, language in enumerate(found) if language == _C_OR_CPP]
    for row, is_cpp in zip(
        headers, _are_cpp(texts.take(pa.array(headers, pa.int64()))), strict=True
    ):
        found[row] = "cpp" if is_cpp else "c"
    for row, language in enumerate(found):
        if language == "typescript" and paths[row].lower().endswith(".ts"):
            if _QT_TS.match(texts[row].as_py()):
                found[row] = "xml"  # Qt's translations share the extension
        elif language is None:
            shebang = _SHEBANG.match(texts[row].as_py())
            found[row] = _INTERPRETERS.get(shebang.group(1).lower()) if shebang else None
    return found


def _by_path(path: str) -> str | None:
    name = path.rstrip("/").rpartition("/")[2].lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    stem, dot, extension = name.rpartition(".")
    if not (dot and stem):
        return None
    return _C_OR_CPP if extension == "h" else _BY_EXTENSION.get(extension)


def _are_cpp(texts: pa.Array) -> list[bool]:
    # RE2 is fast, and its words are ASCII's: other texts are asked again.
    found: list[bool] = pc.match_substring_regex(texts, f"(?m){_CPP.pattern}").to_pylist()
    is_ascii = pc.string_is_ascii(texts).to_pylist()
    return [
        said if plain else _CPP.search(texts[row].as_py()) is not None
        for row, (said, plain) in enumerate(zip(found, is_ascii, strict=True))
    ]
