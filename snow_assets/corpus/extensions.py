"""Languages by file name and extension; `curation` resolves ambiguous ones by the text.

As in github-linguist's languages.yml: the languages that recipes train on, and those that often
occur in the same repositories, so that a README is `language_not_in_recipe` rather than
`unknown_language`.
"""

from collections.abc import Sequence
from functools import cache

# An extension of several languages is listed with each of them; the likelier language is first.
_EXTENSIONS = {
    "c": "c h",
    "cpp": "cpp cc cxx c++ hpp hh hxx h++ ipp tpp inl cu cuh h",
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
    "coq": "v",
    "css": "css scss sass less",
    "csv": "csv tsv",
    "cython": "pyx pxd pxi",
    "fortran": "f f90 f95 for",
    "graphviz": "dot gv",
    "hack": "hack hh php",
    "haskell": "hs",
    "html": "html htm xhtml",
    "ini": "ini cfg conf toml properties",
    "jinja": "j2 jinja jinja2",
    "json": "json jsonl geojson webmanifest",
    "julia": "jl",
    "lua": "lua",
    "markdown": "md markdown mdx",
    "matlab": "m",
    "objective-c": "m h",
    "objective-cpp": "mm",
    "mercury": "m",
    "mathematica": "m wl",
    "owl": "owl",
    "perl": "pl pm",
    "powershell": "ps1 psm1",
    "prolog": "pl",
    "protobuf": "proto",
    "r": "r",
    "raku": "raku rakumod pl pm",
    "renderscript": "rs",
    "roff": "roff man 1 2 3 5 8",
    "rst": "rst",
    "smalltalk": "cs",
    "smt": "smt smt2",
    "supercollider": "scd sc",
    "tex": "tex sty cls bib",
    "text": "txt text log",
    "vlang": "v",
    "verilog": "vh v",
    "vue": "vue",
    "xml": "xml xsd xsl xslt svg ts tsx rs",
    "yaml": "yaml yml",
}
_NAMES = {
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


def languages_by_name(path: str) -> tuple[str, ...]:
    """Every language that a file of this name may hold, the likeliest first; none if unknown."""
    name = path.rstrip("/").rpartition("/")[2].lower()
    if name in _NAMES:
        return (_NAMES[name],)
    return _by_extension().get(extension(path), ())


def extension(path: str) -> str:
    """The extension of a file's name without the dot, in lower case; empty for `.bashrc`."""
    stem, dot, ending = path.rstrip("/").rpartition("/")[2].lower().rpartition(".")
    return ending if dot and stem else ""


def candidates(path: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages among `languages` that a file of this extension may hold, likeliest first.

    `.h` may be C or C++. A notebook is `jupyter`, although its script is Python.
    """
    by_extension = _by_extension().get(extension(path), ())
    return tuple(language for language in by_extension if language in languages)


@cache
def _by_extension() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for language, extensions in _EXTENSIONS.items():
        for name in extensions.split():
            table[name] = (*table.get(name, ()), language)
    return table
