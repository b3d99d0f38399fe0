"""Interface of a repository's file tree, and its implementation for a folder without git."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from snow_assets.corpus.license_files import LICENSES_FOLDER, FolderTexts, is_statement_file
from snow_assets.corpus.license_texts import MAX_TEXT_BYTES

NOT_SOURCE = {".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv"}


class TreeError(Exception):
    """A repository that cannot be read as a whole: a reason and evidence."""

    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(f"{reason}: {evidence}")
        self.reason, self.evidence = reason, evidence


@dataclass(frozen=True)
class Entry:
    """A file of a tree; `refusal` is a reason and evidence if its bytes must not be read."""

    path: str
    num_bytes: int
    refusal: tuple[str, str] | None = None


class SourceTree(Protocol):
    """A repository's files at a revision; paths are relative and separated by `/`."""

    @property
    def revision(self) -> str: ...

    @property
    def entries(self) -> dict[str, Entry]: ...

    def read(self, path: str) -> bytes: ...

    def statement_texts(self, folder: str) -> FolderTexts: ...

    def remote_urls(self) -> Iterator[str]: ...


class WorkingFolder:
    """A folder's files as they are; a link is followed to a licence within the folder only."""

    def __init__(
        self, folder: Path, *, is_read: Callable[[str, int], bool], max_entries: int
    ) -> None:
        """`is_read`: whether a file's bytes belong to the revision, by path and size."""
        self._folder = folder
        self._is_read = is_read
        self._max_entries = max_entries

    @cached_property
    def revision(self) -> str:
        """Digest of all names and sizes, and of the bytes of every file that may be read."""
        digest = hashlib.sha256()
        for path, entry in self.entries.items():
            digest.update(f"{path}\0{entry.num_bytes}\n".encode("utf-8", "surrogatepass"))
            if not entry.refusal and self._is_read(path, entry.num_bytes):
                digest.update(hashlib.sha256(self.read(path)).digest())
        return f"content-{digest.hexdigest()[:32]}"

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All files by path; an unreadable folder is an entry with a refusal."""
        entries: dict[str, Entry] = {}
        for path, status in _walk(self._folder, self._max_entries):
            entries[path] = _entry(path, status)
        return entries

    def read(self, path: str) -> bytes:
        return (self._folder / path).read_bytes()

    def remote_urls(self) -> Iterator[str]:
        return iter(())

    def statement_texts(self, folder: str) -> FolderTexts:
        """The statement files of a folder; links are followed within the repository only."""
        local = self._folder / folder
        texts = {
            path.name: self._text(path)
            for path in sorted(local.iterdir())
            if is_statement_file(path.name) and not path.is_dir()
        }
        licenses = local / LICENSES_FOLDER
        if licenses.is_dir() and not licenses.is_symlink():
            for path, _ in _walk(licenses, self._max_entries):
                texts[f"{LICENSES_FOLDER}/{path}"] = self._text(licenses / path)
        return texts

    def _text(self, path: Path) -> str | None:
        """The text of a statement file; None for a link to outside, or to no regular file."""
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(os.path.realpath(self._folder)) or not target.is_file():
            return None
        with target.open("rb") as file:
            return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def listing_digest(folder: Path, *, max_entries: int) -> str:
    """Digest of names, sizes and modification times, which detects edits without reading."""
    digest = hashlib.sha256()
    for path, status in _walk(folder, max_entries):
        state = "" if status is None else f"{status.st_size} {status.st_mtime_ns} {status.st_mode}"
        digest.update(f"{path}\0{state}\n".encode("utf-8", "surrogatepass"))
    return f"listing-{digest.hexdigest()[:32]}"


def _walk(root: Path, max_entries: int) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield files below a folder with their stat, sorted within each folder; None: unreadable."""
    folders, num_entries = [""], 0
    while folders:
        prefix = folders.pop()
        try:
            with os.scandir(root / prefix) as scanned:
                items = sorted(scanned, key=lambda item: item.name)
        except OSError:
            yield prefix.rstrip("/"), None
            continue
        num_entries += len(items)
        if num_entries > max_entries:
            raise TreeError("too_many_files", f"over {max_entries} files, the recipe's max_members")
        inner: list[str] = []
        for item in items:
            path = prefix + item.name
            if not item.is_dir(follow_symlinks=False):
                yield path, item.stat(follow_symlinks=False)
            elif item.name not in NOT_SOURCE:
                inner.append(f"{path}/")
        folders += reversed(inner)


def _entry(path: str, status: os.stat_result | None) -> Entry:
    if status is None:
        return Entry(path, 0, ("unreadable", "the folder cannot be listed"))
    if not stat.S_ISREG(status.st_mode):
        return Entry(path, status.st_size, ("link", "a link or a device, never followed"))
    return Entry(path, status.st_size)
