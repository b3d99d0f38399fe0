"""Source archives, a repository each: tar, zip, wheel, npm tgz. Streamed, never extracted.

An archive is inspected before anything of it is used: names, kinds and sizes, decompressing but
keeping nothing. One that unpacks to too much is refused as a whole; a member with a hostile name,
a link, a device, or a name that occurs twice is refused by itself. No member's name ever reaches
the file system.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import PurePosixPath

from snow_assets.corpus.archive_members import Member, opened
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.foreign import CPU_SECONDS, ParserFailure, parse_foreign
from snow_assets.corpus.licenses import Statement, is_license_file, stated_in_text
from snow_assets.corpus.locations import StoredFile, expanded, stored
from snow_assets.corpus.locations import snapshot as snapshot_of_files
from snow_assets.corpus.manifests import MANIFESTS, stated_in_manifests
from snow_assets.corpus.received import Refusal, SourceFile, Unit, Wanted
from snow_assets.recipe import ArchiveLimits

SUFFIXES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tbz2", ".txz")
_MIN_BYTES_PER_SECOND = 10_000_000  # of CPU time, at which xz is unpacked even on an old machine


class _RefusedError(Exception):
    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(f"{reason}: {evidence}")
        self.reason, self.evidence = reason, evidence


@dataclass
class _Inspected:
    """An archive that may be read: its candidates, refusals and licence statements by folder."""

    refusals: list[Refusal] = field(default_factory=list)
    chosen: dict[int, str] = field(default_factory=dict)  # a member's place -> its path
    statements: dict[str, Statement] = field(default_factory=dict)  # folder -> what it states
    whole: Statement | None = None


def snapshot(locations: Sequence[str]) -> dict[str, str]:
    return snapshot_of_files(locations, SUFFIXES)


def units(
    locations: Sequence[str],
    *,
    languages: Sequence[str],
    max_file_bytes: int,
    limits: ArchiveLimits,
) -> Iterator[Unit]:
    """A unit per archive, in name order."""
    for file in expanded(locations, SUFFIXES):
        yield _unit(file, languages, max_file_bytes, limits)


def _unit(
    file: StoredFile, languages: Sequence[str], max_file_bytes: int, limits: ArchiveLimits
) -> Unit:
    url, size = file.url, file.num_bytes
    repository, revision = named(url)

    def listing() -> Iterator[tuple[str, str]]:
        try:
            inspected = _inspect(file, repository, languages, limits)
        except _RefusedError:
            return
        yield from ((repository, path) for path in inspected.chosen.values())

    def files(is_wanted: Wanted) -> Iterator[SourceFile | Refusal]:
        if not is_wanted(repository, ""):
            return
        try:
            inspected = _inspect(file, repository, languages, limits)
        except _RefusedError as refused:
            yield Refusal(
                repository=repository, path="", reason=refused.reason,
                evidence=refused.evidence, num_bytes=size,
            )  # fmt: skip
            return
        yield from inspected.refusals
        kept = {key for key, path in inspected.chosen.items() if is_wanted(repository, path)}
        for member, content in _read(url, kept, max_file_bytes):
            path = inspected.chosen[member.key]
            if isinstance(content, _RefusedError):
                yield Refusal(
                    repository=repository, path=path, reason=content.reason,
                    evidence=content.evidence, num_bytes=member.num_bytes,
                )  # fmt: skip
                continue
            yield SourceFile(
                repository=repository,
                revision=revision or f"sha256-{_sha256(url)[:32]}",
                path=path,
                content=content,
                statement=_nearest(inspected, path),
            )

    return Unit(name=url, listing=listing, files=files)


def named(url: str) -> tuple[str, str]:
    """Repository and revision from an archive's file name: `foo-1.2.tar.gz` is foo at 1.2."""
    stem = PurePosixPath(url).name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    found = re.match(r"(.+?)-v?(\d[^-]*)", stem)
    return (found[1], found[2]) if found else (stem, "")


def _inspect(
    file: StoredFile, repository: str, languages: Sequence[str], limits: ArchiveLimits
) -> _Inspected:
    """Look at every member once; _RefusedError if the archive as a whole is not to be trusted."""
    if file.refusal:
        raise _RefusedError(*file.refusal)
    inspected = parse_foreign(
        partial(_inspected, file, repository, languages, limits),
        cpu_seconds=CPU_SECONDS + limits.max_bytes / _MIN_BYTES_PER_SECOND,
    )
    if isinstance(inspected, ParserFailure):
        raise _RefusedError("archive_broken", inspected.evidence)
    if isinstance(inspected, _RefusedError):
        raise inspected
    return inspected


def _inspected(
    file: StoredFile, repository: str, languages: Sequence[str], limits: ArchiveLimits
) -> _Inspected | _RefusedError:
    made = _Inspected()
    members: list[Member] = []
    texts: dict[str, str] = {}
    total = 0
    try:
        with opened(file.url) as archive:
            for member in archive.members():
                total += member.num_bytes
                members.append(member)
                _bounded(total, file.num_bytes, len(members), limits)
                name = PurePosixPath(member.name).name
                if member.is_file and (is_license_file(name) or name in MANIFESTS):
                    texts[member.name] = archive.text(member)
            for total in accumulate(archive.rest()):
                _bounded(total, file.num_bytes, len(members), limits)
    except _RefusedError as error:
        return error
    top = _common_folder(members)
    counts = Counter(_folded(member.name) for member in members if not member.is_folder)
    for member in members:
        refused = _hostile(member, counts, limits)
        path = member.name.removeprefix(top)
        if refused and (refused.reason != "link" or candidates(path, languages)):
            made.refusals.append(
                Refusal(
                    repository=repository,
                    path=_shown(member.name),
                    reason=refused.reason,
                    evidence=refused.evidence,
                    num_bytes=member.num_bytes,
                )
            )
        elif not refused and member.is_file and candidates(path, languages):
            made.chosen[member.key] = path
    _read_statements(made, {name.removeprefix(top): text for name, text in texts.items()})
    return made


def _bounded(total: int, packed: int, count: int, limits: ArchiveLimits) -> None:
    if total > limits.max_bytes:
        raise _RefusedError("archive_too_large", f"unpacks to over {limits.max_bytes} bytes")
    if total > limits.max_ratio * max(packed, 10_240):  # a tiny tar is mostly padding
        raise _RefusedError("archive_bomb", f"unpacks to over {limits.max_ratio} times its size")
    if count > limits.max_members:
        raise _RefusedError("archive_too_many", f"has over {limits.max_members} members")


def _hostile(member: Member, counts: Counter[str], limits: ArchiveLimits) -> _RefusedError | None:
    name = member.name
    parts = name.replace("\\", "/").split("/")
    if not name.isprintable() or len(name.encode("utf-8", "replace")) > limits.max_name_bytes:
        return _RefusedError("unsafe_name", "not printable UTF-8, or too long")
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return _RefusedError("unsafe_path", "leaves the archive's folder")
    if len(parts) > limits.max_depth:
        return _RefusedError("unsafe_path", f"lies over {limits.max_depth} folders deep")
    if not member.is_file and not member.is_folder:
        return _RefusedError("link", "a link or a device, never followed")
    if not member.is_folder and counts[_folded(name)] > 1:
        return _RefusedError("duplicate_name", f"{counts[_folded(name)]} members have this name")
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).removeprefix("./")


def _shown(name: str) -> str:
    """A hostile name as plain data: no control or lone surrogate survives."""
    escaped = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped)[:512]


def _common_folder(members: Sequence[Member]) -> str:
    """`name-1.0/` if every file lies below one such folder, as in source archives."""
    tops = {member.name.partition("/")[0] for member in members if not member.is_folder}
    nested = all("/" in member.name for member in members if not member.is_folder)
    return f"{tops.pop()}/" if len(tops) == 1 and nested else ""


def _read_statements(made: _Inspected, texts: dict[str, str]) -> None:
    """LICENSE files by their folder; manifests of the top folder or of a wheel's dist-info."""
    manifests = {}
    for path in sorted(texts):
        folder, _, name = path.rpartition("/")
        # Wheels keep licences in NAME.dist-info/licenses, and they speak for the whole.
        inner = re.fullmatch(r"[^/]+\.dist-info(/licenses)?", folder)
        if name in MANIFESTS and (not folder or inner):
            manifests[name] = texts[path]
        elif is_license_file(name):
            stated = stated_in_text(texts[path], path)
            if stated.expression:
                made.statements.setdefault("" if inner else folder, stated)
    made.whole = stated_in_manifests(manifests)


def _nearest(inspected: _Inspected, path: str) -> Statement:
    for folder in PurePosixPath(path).parents:
        name = "" if folder.as_posix() == "." else folder.as_posix()
        if name in inspected.statements:
            return inspected.statements[name]
    assert inspected.whole is not None
    return inspected.whole


def _read(
    url: str, kept: set[int], max_file_bytes: int
) -> Iterator[tuple[Member, bytes | _RefusedError]]:
    with opened(url) as archive:
        for member in archive.members():
            if member.key not in kept:
                continue
            if member.num_bytes > max_file_bytes:
                evidence = f"{member.num_bytes} bytes, at most {max_file_bytes}"
                yield member, _RefusedError("too_large", evidence)
                continue
            content = parse_foreign(partial(archive.content, member, max_file_bytes))
            if isinstance(content, ParserFailure):
                yield member, _RefusedError("broken_member", content.evidence)
            else:
                yield member, content


def _sha256(url: str) -> str:
    digest = hashlib.sha256()
    with stored(url) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
