"""Installed Python distributions as repositories: name, version, licence and files of RECORD."""

import importlib.metadata
import platform
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.license_files import (
    LICENSES_FOLDER,
    FolderTexts,
    NearestStatement,
    is_license_file,
    is_statement_file,
)
from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.license_texts import MAX_TEXT_BYTES
from snow_assets.corpus.licenses import distribution_statement
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_units import FileFilter, Refusal, SourceFile, Unit

STDLIB = "stdlib"
_CPYTHON = "cpython"
# Not part of the standard library: installed packages and byte code.
_EXCLUDED_FOLDERS = {"site-packages", "dist-packages", "__pycache__"}


def snapshot(locations: Sequence[str]) -> dict[str, str]:
    """The version of each named distribution."""
    return {name: _version(name) for name in sorted(_folders(locations))}


def repositories(locations: Sequence[str]) -> Iterator[str]:
    """The names under which the distributions enter the corpus."""
    for name in sorted(_folders(locations)):
        yield _CPYTHON if name == STDLIB else name


def units(
    locations: Sequence[str], *, languages: Sequence[str], max_file_bytes: int
) -> Iterator[Unit]:
    """Yield a unit per distribution, in name order; `NAME:FOLDER` selects a folder of it.

    `stdlib` is the running Python's standard library and, if installed, its C headers. Raises
    ValueError for a distribution that is not installed, before anything is read.
    """
    folders_by_name = _folders(locations)
    snapshot(locations)
    for name in sorted(folders_by_name):
        yield _unit(name, folders_by_name[name], languages, max_file_bytes)


def _folders(locations: Sequence[str]) -> dict[str, list[str]]:
    folders_by_name: dict[str, list[str]] = {}
    for location in locations:
        name, _, folder = location.partition(":")
        folders_by_name.setdefault(canonical(name), []).append(folder.strip("/"))
    return folders_by_name


def _version(name: str) -> str:
    return platform.python_version() if name == STDLIB else _distribution(name).version


def _distribution(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"the recipe names the distribution {name!r}, which is not installed: install it "
            f"(`pip install {name}`) or remove it from the recipe's sources or exemplars"
        ) from error


def _unit(name: str, folders: list[str], languages: Sequence[str], max_file_bytes: int) -> Unit:
    repository = _CPYTHON if name == STDLIB else name
    version = _version(name)

    @cache
    def paths() -> dict[str, Path]:
        entries = stdlib_files() if name == STDLIB else _record_entries(name)
        return {
            path: local
            for path, local in sorted(entries)
            if candidates(path, languages)
            and any(not folder or path.startswith(folder + "/") for folder in folders)
        }

    def files(is_selected: FileFilter) -> Iterator[SourceFile | Refusal]:
        folders = {_folder(path): local.parent for path, local in paths().items()}
        nearest = NearestStatement(
            lambda folder: _statement_texts(folder, folders), whole=_statement(name)
        )
        for path, local in paths().items():
            if is_selected(repository, path):
                yield _read(repository, version, path, local, nearest, max_file_bytes)

    return Unit(
        name=repository,
        version=version,
        listing=lambda: ((repository, path) for path in paths()),
        files=files,
    )


def _read(
    repository: str,
    version: str,
    path: str,
    local: Path,
    nearest: NearestStatement,
    max_file_bytes: int,
) -> SourceFile | Refusal:
    if local.is_symlink() or not local.is_file():
        return Refusal(repository=repository, path=path, reason="link", evidence="not a plain file")
    size = local.stat().st_size
    if size > max_file_bytes:
        evidence = f"{size} bytes, at most {max_file_bytes}"
        return Refusal(
            repository=repository, path=path, reason="too_large", evidence=evidence, num_bytes=size
        )
    return SourceFile(
        repository=repository,
        revision=version,
        path=path,
        content=local.read_bytes(),
        statement=nearest.of(path),
    )


def _record_entries(name: str) -> Iterator[tuple[str, Path]]:
    for entry in _distribution(name).files or []:
        if ".." not in entry.parts and not entry.is_absolute():
            yield entry.as_posix(), Path(str(entry.locate()))


def stdlib_files() -> Iterator[tuple[str, Path]]:
    """Yield path in CPython's repository and local file of each module and header."""
    library = Path(sysconfig.get_path("stdlib"))
    for local in library.rglob("*.py"):
        path = local.relative_to(library)
        if not _EXCLUDED_FOLDERS.intersection(path.parts) and "test" not in path.parts[:1]:
            yield f"Lib/{path.as_posix()}", local
    headers = Path(sysconfig.get_path("include"))
    for local in headers.rglob("*.h"):
        yield f"Include/{local.relative_to(headers).as_posix()}", local


def _statement(name: str) -> Statement:
    """The licence statement of the distribution as a whole."""
    if name == STDLIB:
        return Statement("Python-2.0", "docs.python.org/3/license.html")
    distribution = _distribution(name)
    metadata = distribution.metadata
    texts = {
        entry.as_posix(): _text(Path(str(entry.locate()))) or ""
        for entry in distribution.files or []
        if is_license_file(entry.name)
        and ".dist-info" in entry.parts[0]
        and len(entry.parts) <= 3  # those of bundled libraries are deeper
    }
    return distribution_statement(
        expression=_field(metadata, "License-Expression"),
        field=_field(metadata, "License"),
        classifiers=metadata.get_all("Classifier") or [],
        texts=texts,
        where="metadata",
    )


def _field(metadata: importlib.metadata.PackageMetadata, name: str) -> str | None:
    return metadata[name] if name in metadata else None  # noqa: SIM401 - its type has no `get`


def _folder(path: str) -> str:
    folder = str(PurePosixPath(path).parent)
    return "" if folder == "." else folder


def _statement_texts(folder: str, folders: Mapping[str, Path]) -> FolderTexts:
    """The statement files of a folder of the distribution.

    Not of site-packages itself, nor of the standard library's top: `_statement` covers those.
    """
    local = _local_folder(folder, folders)
    if local is None:
        return {}
    texts = {
        path.name: _text(path)
        for path in sorted(local.iterdir())
        if is_statement_file(path.name) and not path.is_dir()
    }
    licenses = local / LICENSES_FOLDER
    if licenses.is_dir() and not licenses.is_symlink():
        for path in sorted(licenses.rglob("*")):
            if not path.is_dir():
                texts[f"{LICENSES_FOLDER}/{path.relative_to(licenses).as_posix()}"] = _text(path)
    return texts


def _local_folder(folder: str, folders: Mapping[str, Path]) -> Path | None:
    if folder in {"", "Lib", "Include"} or ".dist-info" in folder:
        return None
    if folder in folders:
        return folders[folder]
    below = next((name for name in folders if name.startswith(f"{folder}/")), None)
    if below is None:
        return None
    return folders[below].parents[below.count("/") - folder.count("/") - 1]


def _text(path: Path) -> str | None:
    """The text of a statement file; None for a link."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
