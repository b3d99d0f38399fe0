"""A folder of repositories, each folder directly in it one, read as its snapshot says.

Of a git repository the committed tree is read; of any other folder the files as they are. No link
is followed.
"""

import errno
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.foreign import (
    ParserFailure,
    StorageError,
    is_printable,
    parse_foreign,
    printable,
)
from snow_assets.corpus.git_trees import CommittedTree, is_git_repository
from snow_assets.corpus.license_files import NearestStatement
from snow_assets.corpus.received import Refusal, SourceFile, Unit, Wanted
from snow_assets.corpus.source_trees import (
    SourceTree,
    TreeError,
    WorkingFolder,
    listing_digest,
)
from snow_assets.recipe import Source

_STORAGE_ERRNOS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENOMEM}


def snapshot(source: Source, *, max_entries: int) -> dict[str, str]:
    """Each repository's commit; without git, a digest of names, sizes and modification times."""
    return {
        printable(f"{location}/{repository.name}"): _state(repository, source, max_entries)
        for location in source.locations
        for repository in _repositories(location)
    }


def units(
    source: Source, *, languages: Sequence[str], max_file_bytes: int, max_entries: int
) -> Iterator[Unit]:
    """A unit per repository. A location that is no local folder: ValueError.

    Memory: a repository's listing, of at most `max_entries` files, and one file.
    """
    for location in source.locations:
        for repository in _repositories(location):
            yield _unit(repository, source, languages, max_file_bytes, max_entries)


def _repositories(location: str) -> list[Path]:
    folder = Path(location)
    if not folder.is_dir():
        raise ValueError(
            f"the source folder {location!r} is no local folder: correct the recipe, or give code "
            f"on an object store as archives or tables"
        )
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _state(repository: Path, source: Source, max_entries: int) -> str:
    """What is another value once a repository's files are others."""
    try:
        if not is_git_repository(repository):
            return listing_digest(repository, max_entries=max_entries)
        tree = CommittedTree(repository, max_entries=max_entries)
        if source.uncommitted_changes == "refuse" and tree.has_uncommitted_changes():
            return f"{tree.revision} with uncommitted changes"
        return tree.revision
    except TreeError as error:
        return error.reason


def _unit(
    repository: Path,
    source: Source,
    languages: Sequence[str],
    max_file_bytes: int,
    max_entries: int,
) -> Unit:
    name = repository.name.removesuffix(".git") or repository.name

    def is_read(path: str, num_bytes: int) -> bool:
        return num_bytes <= max_file_bytes and bool(candidates(path, languages))

    @cache
    def tree() -> SourceTree | TreeError:
        try:
            if not is_git_repository(repository):
                return WorkingFolder(repository, is_read=is_read, max_entries=max_entries)
            committed = CommittedTree(repository, max_entries=max_entries)
            if source.uncommitted_changes == "refuse" and committed.has_uncommitted_changes():
                evidence = "commit or remove them, or let the recipe's source ignore them"
                return TreeError("uncommitted_changes", evidence)
            return committed
        except TreeError as error:
            return error

    def names() -> Iterator[str]:
        yield name
        opened = tree()
        if not isinstance(opened, TreeError):
            yield from opened.remote_urls()

    def listing() -> Iterator[tuple[str, str]]:
        opened = tree()
        if not isinstance(opened, TreeError):
            yield from ((name, path) for path in opened.entries if candidates(path, languages))

    def files(is_wanted: Wanted) -> Iterator[SourceFile | Refusal]:
        opened = tree()
        try:
            if isinstance(opened, TreeError):
                raise opened
            entries = opened.entries
        except TreeError as error:
            yield Refusal(repository=name, path="", reason=error.reason, evidence=error.evidence)
            return
        nearest = NearestStatement(opened.statement_texts)
        for path, entry in entries.items():
            is_told = entry.refusal is not None and entry.refusal[0] != "link"
            if is_told or (candidates(path, languages) and is_wanted(name, path)):
                yield _received(name, opened, path, nearest, max_file_bytes)

    return Unit(name=repository.name, repository=name, names=names, listing=listing, files=files)


def _received(
    repository: str, tree: SourceTree, path: str, nearest: NearestStatement, max_file_bytes: int
) -> SourceFile | Refusal:
    received = parse_foreign(partial(_read, repository, tree, path, nearest, max_file_bytes))
    if isinstance(received, ParserFailure):
        return Refusal(
            repository=repository, path=path, reason="unreadable", evidence=received.evidence
        )
    return received


def _read(
    repository: str, tree: SourceTree, path: str, nearest: NearestStatement, max_file_bytes: int
) -> SourceFile | Refusal:
    entry = tree.entries[path]
    refusal = entry.refusal
    if refusal is None and entry.num_bytes > max_file_bytes:
        refusal = ("too_large", f"{entry.num_bytes} bytes, at most {max_file_bytes}")
    if refusal is None and not is_printable(path):
        refusal = ("unsafe_name", "the name is no printable UTF-8")
    if refusal:
        reason, evidence = refusal
        return Refusal(
            repository=repository,
            path=path,
            reason=reason,
            evidence=evidence,
            num_bytes=entry.num_bytes,
        )
    try:
        return SourceFile(
            repository=repository,
            revision=tree.revision,
            path=path,
            content=tree.read(path),
            statement=nearest.of(path),
        )
    except OSError as error:
        if error.errno in _STORAGE_ERRNOS:
            raise StorageError(f"{path} of {repository} cannot be read: {error}") from error
        raise
