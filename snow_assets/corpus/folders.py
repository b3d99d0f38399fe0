"""A folder of repositories: each direct subfolder is a repository.

Of a git repository the committed tree is read; of any other folder the files on disk. Links are not
followed.
"""

import errno
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.git_trees import CommittedTree, is_git_repository
from snow_assets.corpus.license_files import NearestStatement
from snow_assets.corpus.source_trees import (
    SourceTree,
    TreeError,
    WorkingFolder,
    listing_digest,
)
from snow_assets.corpus.source_units import FileFilter, Refusal, SourceFile, Unit
from snow_assets.corpus.untrusted import (
    ParserFailure,
    StorageError,
    is_printable,
    parse_untrusted,
    printable,
)
from snow_assets.recipe import Source

_STORAGE_ERRNOS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENOMEM}


def snapshot(source: Source, *, max_entries: int) -> dict[str, str]:
    """Each repository's commit; without git, a digest of names, sizes and modification times."""
    return {
        printable(f"{location}/{repository.name}"): _snapshot_version(
            repository, source, max_entries
        )
        for location in source.locations
        for repository in _repositories(location)
    }


def units(
    source: Source, *, languages: Sequence[str], max_file_bytes: int, max_entries: int
) -> Iterator[Unit]:
    """Yield a unit per repository; ValueError for a location that is no local folder.

    Memory: a repository's listing, of at most `max_entries` files, and one file.
    """
    for location in source.locations:
        for repository in _repositories(location):
            yield _unit(repository, source, languages, max_file_bytes, max_entries)


def _repositories(location: str) -> list[Path]:
    folder = Path(location)
    if not folder.is_dir():
        raise ValueError(
            f"the source folder {location!r} is no local folder: correct the recipe, or provide "
            f"code on an object store as archives or tables"
        )
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _snapshot_version(repository: Path, source: Source, max_entries: int) -> str:
    """A value that changes when a repository's files change."""
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
        source_tree = tree()
        if not isinstance(source_tree, TreeError):
            yield from source_tree.remote_urls()

    def listing() -> Iterator[tuple[str, str]]:
        source_tree = tree()
        if not isinstance(source_tree, TreeError):
            yield from ((name, path) for path in source_tree.entries if candidates(path, languages))

    def files(is_selected: FileFilter) -> Iterator[SourceFile | Refusal]:
        source_tree = tree()
        try:
            if isinstance(source_tree, TreeError):
                raise source_tree
            entries = source_tree.entries
        except TreeError as error:
            yield Refusal(repository=name, path="", reason=error.reason, evidence=error.evidence)
            return
        nearest = NearestStatement(source_tree.statement_texts)
        for path, entry in entries.items():
            is_reported = entry.refusal is not None and entry.refusal[0] != "link"
            if is_reported or (candidates(path, languages) and is_selected(name, path)):
                yield _read_or_refuse(name, source_tree, path, nearest, max_file_bytes)

    return Unit(name=repository.name, repository=name, names=names, listing=listing, files=files)


def _read_or_refuse(
    repository: str, tree: SourceTree, path: str, nearest: NearestStatement, max_file_bytes: int
) -> SourceFile | Refusal:
    received = parse_untrusted(partial(_read, repository, tree, path, nearest, max_file_bytes))
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
