"""A folder of repositories, each folder directly in it one: read in place, no link followed."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.license_files import (
    LICENSES_FOLDER,
    FolderTexts,
    NearestStatement,
    is_statement_file,
)
from snow_assets.corpus.license_texts import MAX_TEXT_BYTES
from snow_assets.corpus.received import Refusal, SourceFile, Unit, Wanted

NOT_SOURCE = {".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv"}


def snapshot(locations: Sequence[str]) -> dict[str, str]:
    """Each repository's revision: its commit, or a digest of its files' names and sizes."""
    return {
        f"{location}/{repository.name}": _revision(repository)
        for location in locations
        for repository in _repositories(location)
    }


def units(
    locations: Sequence[str], *, languages: Sequence[str], max_file_bytes: int
) -> Iterator[Unit]:
    """A unit per repository. A location that is no local folder: ValueError."""
    for location in locations:
        for repository in _repositories(location):
            yield _unit(repository, languages, max_file_bytes)


def _repositories(location: str) -> list[Path]:
    folder = Path(location)
    if not folder.is_dir():
        raise ValueError(
            f"the source folder {location!r} is no local folder: correct the recipe, or give code "
            f"on an object store as archives or tables"
        )
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _unit(repository: Path, languages: Sequence[str], max_file_bytes: int) -> Unit:
    def listing() -> Iterator[tuple[str, str]]:
        for path in _paths(repository):
            if candidates(path, languages):
                yield repository.name, path

    def files(is_wanted: Wanted) -> Iterator[SourceFile | Refusal]:
        revision = _revision(repository)
        nearest = NearestStatement(lambda folder: _statement_texts(repository, folder))
        for name, path in listing():
            if is_wanted(name, path):
                yield _read(repository, revision, path, nearest, max_file_bytes)

    return Unit(name=repository.name, listing=listing, files=files)


def _read(
    repository: Path, revision: str, path: str, nearest: NearestStatement, max_file_bytes: int
) -> SourceFile | Refusal:
    local = repository / path
    size = local.lstat().st_size
    reason = evidence = None
    if not _is_plain(local):
        reason, evidence = "link", "a link or a device, never followed"
    elif size > max_file_bytes:
        reason, evidence = "too_large", f"{size} bytes, at most {max_file_bytes}"
    elif not path.isprintable():
        reason, evidence = "unsafe_name", "the name is no printable UTF-8"
    if reason:
        shown = path.encode("utf-8", "backslashreplace").decode()
        return Refusal(
            repository=repository.name, path=shown, reason=reason, evidence=evidence, num_bytes=size
        )
    return SourceFile(
        repository=repository.name,
        revision=revision,
        path=path,
        content=local.read_bytes(),
        statement=nearest.of(path),
    )


def _statement_texts(repository: Path, folder: str) -> FolderTexts:
    """The statement files of a folder; a link is followed within the repository only."""
    local = repository / folder
    texts = {
        path.name: _text(repository, path)
        for path in sorted(local.iterdir())
        if is_statement_file(path.name) and not path.is_dir()
    }
    licenses = local / LICENSES_FOLDER
    if licenses.is_dir() and not licenses.is_symlink():
        for path in _paths(licenses):
            texts[f"{LICENSES_FOLDER}/{path}"] = _text(repository, licenses / path)
    return texts


def _paths(repository: Path) -> Iterator[str]:
    for folder, inner, names in os.walk(repository, followlinks=False):
        inner[:] = sorted(name for name in inner if name not in NOT_SOURCE)
        for name in sorted(names):
            yield (Path(folder) / name).relative_to(repository).as_posix()


def _revision(repository: Path) -> str:
    head = repository / ".git" / "HEAD"
    if head.is_file():
        name = head.read_text("utf-8", "replace").strip().removeprefix("ref: ")
        branch = repository / ".git" / name
        commit = branch.read_text("utf-8", "replace").strip() if branch.is_file() else name
        if re.fullmatch(r"[0-9a-f]{40,64}", commit):
            return commit
    digest = hashlib.sha256()
    for path in _paths(repository):
        size = (repository / path).lstat().st_size
        digest.update(f"{path}\0{size}\n".encode("utf-8", "surrogateescape"))
    return f"listing-{digest.hexdigest()[:32]}"


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _text(repository: Path, path: Path) -> str | None:
    """The text of a statement file; None for a link that leads outside, or to no plain file."""
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(repository)) or not target.is_file():
        return None
    with target.open("rb") as file:
        return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
