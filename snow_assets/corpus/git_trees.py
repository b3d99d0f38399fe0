"""Committed tree of a local git repository, read from its objects without a checkout.

By libgit2 (pygit2), which runs no hook, filter, pager or program that a repository configures.
Packed references, worktrees, alternates and detached heads follow git's rules.
"""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from snow_assets.corpus.license_files import LICENSES_FOLDER, FolderTexts, is_statement_file
from snow_assets.corpus.license_texts import MAX_TEXT_BYTES
from snow_assets.corpus.source_trees import NOT_SOURCE, Entry, TreeError

_LINK, _SUBMODULE, _FOLDER = 0o120000, 0o160000, 0o040000
_MAX_LINK_BYTES = 4_096


def is_git_repository(folder: Path) -> bool:
    """Whether a folder is a git repository: a working tree, a linked worktree or a bare one."""
    if (folder / ".git").exists() or (folder / ".git").is_symlink():
        return True
    return all((folder / name).exists() for name in ("HEAD", "objects", "refs"))


class CommittedTree:
    """The tree of a repository's HEAD; TreeError if git cannot read it or nothing is committed."""

    def __init__(self, folder: Path, *, max_entries: int) -> None:
        import pygit2  # imported only if a git repository is read

        # Another user's repository is safe to read: nothing that it configures is run.
        pygit2.settings.owner_validation = False
        _require_own_history(folder)
        with _tree_errors():
            flags = pygit2.enums.RepositoryOpenFlag.NO_SEARCH
            self._repository = pygit2.Repository(str(folder), flags)
            if self._repository.head_is_unborn:
                raise TreeError("no_commit", "nothing is committed: commit the files")
            self._commit = self._repository.head.peel(pygit2.Commit)
        self._max_entries = max_entries

    @property
    def revision(self) -> str:
        return str(self._commit.id)

    def has_uncommitted_changes(self) -> bool:
        """Whether `git status` lists any changed, new (not ignored) or removed file."""
        if self._repository.is_bare:
            return False
        with _tree_errors():
            return bool(self._repository.status(untracked_files="normal", ignored=False))

    def remote_urls(self) -> Iterator[str]:
        """The URLs of the repository's remotes."""
        for remote in self._repository.remotes:
            yield remote.url or ""

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All files by path, sorted; TreeError if there are too many."""
        with _tree_errors():
            return dict(sorted(self._walk().items()))

    def _walk(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        self._objects: dict[str, str] = {}
        folders: list[tuple[str, Any]] = [("", self._commit.tree)]
        while folders:
            prefix, tree = folders.pop()
            for item in tree:
                path = prefix + (item.raw_name or b"").decode("utf-8", "surrogateescape")
                if len(entries) + len(folders) >= self._max_entries:
                    raise TreeError(
                        "too_many_files",
                        f"over {self._max_entries} files, the recipe's max_members",
                    )
                if item.filemode == _FOLDER:
                    if path.rpartition("/")[2] not in NOT_SOURCE:
                        folders.append((f"{path}/", item))
                    continue
                entries[path] = self._entry(path, item.filemode, str(item.id))
                self._objects[path] = str(item.id)
        return entries

    def read(self, path: str) -> bytes:
        """Read a file's committed bytes; KeyError for a missing object, as in a partial clone."""
        _ = self.entries
        return bytes(self._repository[self._objects[path]].read_raw())

    def statement_texts(self, folder: str) -> FolderTexts:
        """The statement files of a folder; links are followed within the tree only."""
        return {name: self._text(path) for name, path in self._statements.get(folder, {}).items()}

    @cached_property
    def _statements(self) -> dict[str, dict[str, str]]:
        """Folder -> name -> path of the files that may state a licence."""
        folders: dict[str, dict[str, str]] = {}
        marker = f"{LICENSES_FOLDER}/"
        for path in self.entries:
            folder, name = posixpath.split(path)
            if is_statement_file(name):
                folders.setdefault(folder, {})[name] = path
            before, separator, after = f"/{path}".rpartition(f"/{marker}")
            if separator:
                folders.setdefault(before.strip("/"), {})[marker + after] = path
        return folders

    def _entry(self, path: str, mode: int, object_id: str) -> Entry:
        if mode == _SUBMODULE:
            evidence = f"another repository's commit {object_id}: name it as a source of its own"
            return Entry(path, 0, ("submodule", evidence))
        if mode == _LINK:
            return Entry(path, 0, ("link", "a link or a device, never followed"))
        try:
            _, num_bytes = self._repository.odb.read_header(object_id)
        except KeyError:
            return Entry(path, 0, ("missing_object", f"object {object_id} is not in the clone"))
        return Entry(path, num_bytes)

    def _text(self, path: str) -> str | None:
        entry = self.entries[path]
        if entry.refusal and entry.refusal[0] == "link":
            target = self.read(path)[:_MAX_LINK_BYTES].decode("utf-8", "surrogateescape")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if path not in self.entries or self.entries[path].refusal:
            return None
        return self.read(path)[:MAX_TEXT_BYTES].decode("utf-8", "replace")


@contextmanager
def _tree_errors() -> Iterator[None]:
    """Convert libgit2's errors for a damaged or incomplete repository to TreeError."""
    from pygit2 import GitError

    try:
        yield
    except (GitError, KeyError, ValueError, OSError) as error:
        raise TreeError("git_broken", f"{type(error).__name__}: {error}") from error


def _require_own_history(folder: Path) -> None:
    """Refuse a folder whose `.git` refers to a repository that does not refer back to the folder.

    Otherwise an untrusted folder could refer to any repository of this machine.
    """
    link = folder / ".git"
    if not link.exists() or (link.is_dir() and not link.is_symlink()):
        return
    target = link.resolve()
    if link.is_file() and not link.is_symlink():
        stated = link.read_text("utf-8", "replace").strip().removeprefix("gitdir:").strip()
        target = (folder / stated).resolve()
    if target.is_relative_to(folder.resolve().parent):
        return
    back = target / "gitdir"  # gitrepository-layout(5): a linked worktree's
    if (
        back.is_file()
        and Path(back.read_text("utf-8", "replace").strip()).resolve() == link.resolve()
    ):
        return
    raise TreeError("git_elsewhere", f"its .git leads to {target}, which does not lead back")
