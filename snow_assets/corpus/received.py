"""What every kind of source hands to ingest: files with a licence statement, or refusals."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.repository_names import canonical

Wanted = Callable[[str, str], bool]
"""Says whether a file of (repository, path) is to be read at all."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file as received, with the nearest licence statement that its repository makes for it."""

    repository: str
    revision: str
    path: str
    content: bytes
    statement: Statement


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file, or with an empty path a whole repository, that was not read, and why."""

    repository: str
    path: str
    reason: str
    evidence: str | None
    num_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A part of a source that is opened on its own: a distribution, an archive, a table's file.

    `listing` names every candidate (repository, path) without reading contents; `files` reads
    the wanted ones. Both go in the same order every time. `names` are repositories that the unit
    may be of, if only its name and contents say so: an opted-out one among them refuses it whole.
    """

    name: str
    repository: str = ""  # of all files of the unit; empty: each file states its own
    names: Callable[[], Iterator[str]] = lambda: iter(())
    listing: Callable[[], Iterator[tuple[str, str]]]
    files: Callable[[Wanted], Iterator[SourceFile | Refusal]]


def normalised(repository: str) -> str:
    """The name under which repositories are compared, see `repository_names`."""
    return canonical(repository)


def without_owner(repository: str) -> set[str]:
    """How a listed repository may be called where its owner is not stated: `name`, `owner-name`."""
    parts = normalised(repository).replace("@", "").split("/")
    return {parts[-1], "-".join(parts[-2:])} - {"*", ""}


def order_by_hash(*parts: str) -> str:
    """A key that orders names as if at random, and always the same way."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
