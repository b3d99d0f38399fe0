"""Which languages a file's name allows; `curation` looks at the text and decides."""

from collections.abc import Sequence
from pathlib import PurePosixPath

# As in github-linguist's languages.yml; an extension of several languages has the likelier first.
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
}


def candidates(path: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages among `languages` that a file of this name may hold, the likeliest first.

    `.h` may be C or C++. A notebook is `jupyter`, although its script will be Python.
    """
    extension = PurePosixPath(path).suffix.lower().removeprefix(".")
    return tuple(
        language
        for language, extensions in _EXTENSIONS.items()
        if language in languages and extension in extensions.split()
    )
