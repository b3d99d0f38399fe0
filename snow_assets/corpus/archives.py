"""Source archives, a repository each: tar, zip, wheel, npm tgz. Streamed, never extracted.

An archive is inspected before its content is used: names, kinds and sizes, decompressing without
keeping any content. An archive that is too large when unpacked is refused as a whole; single
members are refused for a hostile name, a link, a device, or a duplicate name. Members' names are
never used as file system paths.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import accumulate
from pathlib import PurePosixPath

from snow_assets.corpus import archive_names
from snow_assets.corpus.archive_members import Member, open_archive
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.license_files import (
    LICENSES_FOLDER,
    NearestStatement,
    by_folder,
    is_license_file,
    is_statement_file,
)
from snow_assets.corpus.locations import StoredFile, list_files, open_stored
from snow_assets.corpus.locations import snapshot as snapshot_of_files
from snow_assets.corpus.manifests import MANIFESTS, PYTHON_METADATA, repositories_in_manifests
from snow_assets.corpus.source_units import FileFilter, Refusal, SourceFile, Unit
from snow_assets.corpus.untrusted import (
    CPU_SECONDS,
    ParserFailure,
    is_printable,
    parse_untrusted,
    printable,
)
from snow_assets.corpus.zip_directory import LostMember
from snow_assets.recipe import ArchiveLimits

SUFFIXES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tbz2", ".txz")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FOLDER_VIEWS = {".DS_Store", "Thumbs.db", "desktop.ini"}
_CANDIDATES_ONLY = {"link", "system_metadata"}  # reasons that are reported of source files only
_MIN_BYTES_PER_SECOND = 10_000_000  # of CPU time, at which xz is unpacked even on an old machine


class _RefusedError(Exception):
    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(f"{reason}: {evidence}")
        self.reason, self.evidence = reason, evidence

    def refusal(self, repository: str, path: str, num_bytes: int) -> Refusal:
        return Refusal(
            repository=repository,
            path=path,
            reason=self.reason,
            evidence=self.evidence,
            num_bytes=num_bytes,
        )


@dataclass
class _Inspection:
    """Result of an archive's inspection: its candidates, refusals and licence statements."""

    commit: str = ""  # stored by `git archive`
    top: str = ""  # the common top folder, if any
    stated_names: list[str] = field(default_factory=list)  # in its manifests
    refusals: list[Refusal] = field(default_factory=list)
    chosen: dict[int, str] = field(default_factory=dict)  # a member's index -> its path
    nearest: NearestStatement = field(default_factory=lambda: NearestStatement(lambda _: {}))


def snapshot(locations: Sequence[str]) -> dict[str, str]:
    return snapshot_of_files(locations, SUFFIXES)


def units(
    locations: Sequence[str],
    *,
    languages: Sequence[str],
    max_file_bytes: int,
    limits: ArchiveLimits,
    repositories: Sequence[str] = (),
) -> Iterator[Unit]:
    """Yield a unit per archive, in name order; `repositories`: one for each location, or none."""
    stated = dict(zip(locations, repositories, strict=bool(repositories)))
    for location in locations:
        for file in list_files([location], SUFFIXES):
            yield _unit(file, stated.get(location), languages, max_file_bytes, limits)


def _unit(
    file: StoredFile,
    stated_repository: str | None,
    languages: Sequence[str],
    max_file_bytes: int,
    limits: ArchiveLimits,
) -> Unit:
    url, name = file.url, archive_names.stem(file.url, SUFFIXES)
    archive_name = archive_names.parse_archive_name(name, is_wheel=url.lower().endswith(".whl"))
    repository = stated_repository or archive_name.repository

    @cache
    def inspection() -> _Inspection | _RefusedError:
        return _inspect(file, repository, languages, limits)

    def names() -> Iterator[str]:
        """The recipe's repository; else candidates from the archive's name and its content."""
        if stated_repository:
            yield stated_repository
            return
        yield from archive_names.candidate_repositories(name)
        archive = inspection()
        if isinstance(archive, _Inspection):
            for inner in filter(None, (name, archive.top)):
                is_any_ref = archive.commit != ""
                yield from archive_names.candidate_repositories(inner, is_any_ref=is_any_ref)
            yield from archive.stated_names

    def listing() -> Iterator[tuple[str, str]]:
        archive = inspection()
        if isinstance(archive, _Inspection):
            yield from ((repository, path) for path in archive.chosen.values())

    def files(is_selected: FileFilter) -> Iterator[SourceFile | Refusal]:
        if not is_selected(repository, ""):
            return
        archive = inspection()
        if isinstance(archive, _RefusedError):
            yield archive.refusal(repository, "", file.num_bytes)
            return
        yield from archive.refusals
        kept = {key for key, path in archive.chosen.items() if is_selected(repository, path)}
        revision = archive_name.revision or archive.commit or f"sha256-{_sha256(url)[:32]}"
        for member, content in _read(url, kept, max_file_bytes):
            path = archive.chosen[member.key]
            if isinstance(content, _RefusedError):
                yield content.refusal(repository, path, member.num_bytes)
                continue
            yield SourceFile(
                repository=repository,
                revision=revision,
                path=path,
                content=content,
                statement=archive.nearest.of(path),
            )

    return Unit(
        name=url,
        repository=repository,
        num_bytes=file.num_bytes,
        names=names,
        listing=listing,
        files=files,
    )


def _inspect(
    file: StoredFile, repository: str, languages: Sequence[str], limits: ArchiveLimits
) -> _Inspection | _RefusedError:
    """Inspect every member; _RefusedError if the archive is refused as a whole."""
    if file.refusal:
        return _RefusedError(*file.refusal)
    inspected = parse_untrusted(
        partial(_inspect_members, file, repository, languages, limits),
        cpu_seconds=CPU_SECONDS + limits.max_bytes / _MIN_BYTES_PER_SECOND,
    )
    if isinstance(inspected, ParserFailure):
        return _RefusedError("archive_broken", inspected.evidence)
    return inspected


def _inspect_members(
    file: StoredFile, repository: str, languages: Sequence[str], limits: ArchiveLimits
) -> _Inspection | _RefusedError:
    inspection = _Inspection()
    members: list[Member] = []
    texts: dict[str, str | None] = {}
    total = 0
    try:
        with open_archive(file.url) as archive:
            for member in archive.members():
                total += member.num_bytes
                members.append(member)
                _check_limits(total, file.num_bytes, len(members), limits)
                if _is_statement(member.path) and not member.is_folder:
                    texts[member.path] = archive.text(member) if member.is_file else None
            for total in accumulate(archive.drain()):
                _check_limits(total, file.num_bytes, len(members), limits)
            inspection.refusals += [
                _lost_member_refusal(repository, member) for member in archive.lost_members()
            ]
            inspection.commit = archive.commit() if _COMMIT.fullmatch(archive.commit()) else ""
    except _RefusedError as error:
        return error
    top = _common_folder(members)
    counts = Counter(_normalize(member.path) for member in members if not member.is_folder)
    for member in members:
        violation = _member_violation(member, counts, limits)
        path = member.path.removeprefix(top)
        if violation and (violation.reason not in _CANDIDATES_ONLY or candidates(path, languages)):
            refusal = violation.refusal(repository, printable(member.name), member.num_bytes)
            inspection.refusals.append(refusal)
        elif not violation and member.is_file and candidates(path, languages):
            inspection.chosen[member.key] = path
    inner = {name.removeprefix(top): text for name, text in texts.items()}
    inspection.nearest = _nearest_statements(inner)
    manifests = {name: text for name, text in inner.items() if name in MANIFESTS and text}
    inspection.top, inspection.stated_names = top.rstrip("/"), repositories_in_manifests(manifests)
    return inspection


def _is_statement(path: str) -> bool:
    parts = PurePosixPath(path).parts
    states = is_statement_file(parts[-1]) or LICENSES_FOLDER in parts[:-1] if parts else False
    return states and not _is_metadata(path)


def _lost_member_refusal(repository: str, member: LostMember) -> Refusal:
    error = _RefusedError(member.reason, member.evidence)
    return error.refusal(repository, printable(member.name), 0)


def _check_limits(
    unpacked_bytes: int, archive_bytes: int, num_members: int, limits: ArchiveLimits
) -> None:
    if unpacked_bytes > limits.max_bytes:
        raise _RefusedError("archive_too_large", f"unpacks to over {limits.max_bytes} bytes")
    if unpacked_bytes > limits.max_ratio * max(
        archive_bytes, 10_240
    ):  # a tiny tar is mostly padding
        raise _RefusedError("archive_bomb", f"unpacks to over {limits.max_ratio} times its size")
    if num_members > limits.max_members:
        raise _RefusedError("archive_too_many", f"has over {limits.max_members} members")


def _member_violation(
    member: Member, counts: Counter[str], limits: ArchiveLimits
) -> _RefusedError | None:
    name = member.path
    parts = name.replace("\\", "/").split("/")
    if not is_printable(name) or len(name.encode("utf-8", "replace")) > limits.max_name_bytes:
        return _RefusedError("unsafe_name", "not printable UTF-8, or too long")
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return _RefusedError("unsafe_path", "leaves the archive's folder")
    if len(parts) > limits.max_depth:
        return _RefusedError("unsafe_path", f"lies over {limits.max_depth} folders deep")
    if _is_metadata(name) and not member.is_folder:
        return _RefusedError("system_metadata", "macOS's or Windows' own, beside the files")
    if not member.is_file and not member.is_folder:
        return _RefusedError("link", "a link or a device, never followed")
    if not member.is_folder and counts[_normalize(name)] > 1:
        return _RefusedError("duplicate_name", f"{counts[_normalize(name)]} members have this name")
    return None


def _normalize(name: str) -> str:
    return unicodedata.normalize("NFC", name).removeprefix("./")


def _is_metadata(path: str) -> bool:
    """Whether a member is metadata of macOS or Windows: resource forks, folder views."""
    name = path.rpartition("/")[2]
    return path.startswith("__MACOSX/") or name.startswith("._") or name in _FOLDER_VIEWS


def _common_folder(members: Sequence[Member]) -> str:
    """The common top folder of all files (`name-1.0/`), as in source archives; else empty."""
    paths = [
        member.path for member in members if not member.is_folder and not _is_metadata(member.path)
    ]
    tops = {path.partition("/")[0] for path in paths}
    nested = all("/" in path for path in paths)
    return f"{tops.pop()}/" if len(tops) == 1 and nested else ""


def _nearest_statements(texts: dict[str, str | None]) -> NearestStatement:
    """Licence statements by folder; those of a wheel's dist-info apply to the whole archive."""
    folders = by_folder(texts)
    top = folders.setdefault("", {})
    for folder in sorted(folders):
        if not re.fullmatch(r"[^/]+\.dist-info(/licenses)?", folder):
            continue
        for name, text in folders[folder].items():
            if name in PYTHON_METADATA or is_license_file(name):
                top.setdefault(name, text)
    return NearestStatement(lambda folder: folders.get(folder, {}))


def _read(
    url: str, keys: set[int], max_file_bytes: int
) -> Iterator[tuple[Member, bytes | _RefusedError]]:
    with open_archive(url) as archive:
        for member in archive.members():
            if member.key not in keys:
                continue
            if member.num_bytes > max_file_bytes:
                evidence = f"{member.num_bytes} bytes, at most {max_file_bytes}"
                yield member, _RefusedError("too_large", evidence)
                continue
            content = parse_untrusted(partial(archive.content, member, max_file_bytes))
            if isinstance(content, ParserFailure):
                yield member, _RefusedError("broken_member", content.evidence)
            else:
                yield member, content


def _sha256(url: str) -> str:
    digest = hashlib.sha256()
    with open_stored(url) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
