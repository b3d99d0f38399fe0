"""Units of a source: files with a licence statement, or refusals; the input of ingest."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.repository_names import canonical

FileFilter = Callable[[str, str], bool]
"""(repository, path) -> whether the file is to be read."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of a source, with its repository's nearest licence statement."""

    repository: str
    revision: str
    path: str
    content: bytes
    statement: Statement


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file, or with an empty path a whole repository, that was not read, with the reason."""

    repository: str
    path: str
    reason: str
    evidence: str | None
    num_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A part of a source that is opened separately: a distribution, an archive, a table's file.

    `listing` yields every candidate (repository, path) without reading contents; `files` reads the
    selected ones. Both have a fixed order. `names` yields repositories that the unit may be of, if
    that is known from its name and contents only: an opted-out one refuses the whole unit.
    """

    name: str
    repository: str = ""  # of all files of the unit; empty: each file states its own
    num_bytes: int | None = None  # as stored; None: not listed
    version: str = ""  # of a distribution
    names: Callable[[], Iterator[str]] = lambda: iter(())
    listing: Callable[[], Iterator[tuple[str, str]]]
    files: Callable[[FileFilter], Iterator[SourceFile | Refusal]]


def without_owner(repository: str) -> set[str]:
    """Names of a listed repository in sources that do not state the owner: `name`, `owner-name`."""
    parts = canonical(repository).replace("@", "").split("/")
    return {parts[-1], "-".join(parts[-2:])} - {"*", ""}


def order_by_hash(*parts: str) -> str:
    """A sort key for a deterministic pseudo-random order of names."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
