"""Which language a file is in, by its name, its first line and, where names lie, its content.

A small table of our own: the recipe's 18 languages, and those that often stand beside them, so
that a README is `language_not_in_recipe` rather than `unknown_language`.
"""

import re
from pathlib import PurePosixPath

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
_QT_TS = re.compile(r"\s*<\?xml|\s*<!DOCTYPE TS")


def language_of(path: str, text: str) -> str | None:
    """The language's name as recipes spell it, or None if neither name nor first line tells."""
    name = PurePosixPath(path).name.lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    stem, dot, extension = name.rpartition(".")
    if dot and stem:
        if extension == "h":
            return "cpp" if _CPP.search(text) else "c"
        language = _BY_EXTENSION.get(extension)
        if language == "typescript" and _QT_TS.match(text):
            return "xml"  # Qt's translations share the extension
        if language is not None:
            return language
    shebang = _SHEBANG.match(text)
    return _INTERPRETERS.get(shebang.group(1).lower()) if shebang else None
