"""Languages by file name and extension; `curation` resolves ambiguous ones by the text."""

from collections.abc import Sequence
from functools import cache

from snow_assets.languages import LANGUAGES


def languages_by_name(path: str) -> tuple[str, ...]:
    """Every language that a file of this name may hold, the likeliest first; none if unknown."""
    name = path.rstrip("/").rpartition("/")[2].lower()
    if name in _by_file_name():
        return (_by_file_name()[name],)
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
    for language, spec in LANGUAGES.items():
        for name in spec.extensions.split():
            table[name] = (*table.get(name, ()), language)
    return table


@cache
def _by_file_name() -> dict[str, str]:
    return {
        name: language for language, spec in LANGUAGES.items() for name in spec.file_names.split()
    }
