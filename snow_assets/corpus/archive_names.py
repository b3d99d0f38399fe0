"""Repository and revision from an archive's name, and all alternative interpretations of it.

`angular-2-storage-master` may be angular-2-storage at master, or angular at 2-storage-master. A
single interpretation is recorded, so that different repositories never become one; all of them are
compared with the opt-out list, so that no match is missed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

# PEP 440's and npm's forms with at least two numbers, or a date: `2.0`, `1.2.3-rc.1`, `20240131`.
_VERSION = re.compile(
    r"v?(?:\d+(?:[._]\d+)+|\d{8,})"
    r"(?:[-._]?(?:alpha|beta|preview|pre|post|dev|rc|rev|release|final|stable|snapshot|ga|a|b|c|p|r)"
    r"[-._]?\d*(?:\.\d+)*)*"
    r"(?:\+[\w.]+)?(?:[-._](?:src|sources?|orig|sdist|dist|full))*",
    re.IGNORECASE,
)
_BRANCH = re.compile(r"master|main|trunk|develop|HEAD")
_COMMIT = re.compile(r"(?=[a-f]*\d)[0-9a-f]{7,12}|[0-9a-f]{40}|[0-9a-f]{64}")
# Prefixes of a version, a branch or a tag, in interpretations that only the opt-out list uses.
_MAY_BE_REVISION = re.compile(
    r"v?\d|(?:master|main|trunk|dev|develop|devel|head|next|stable|latest|nightly|canary|release"
    r"|releases|rel|beta|alpha|rc|snapshot|staging|production|prod|gh|heads|tags|refs)(?![a-z])"
    r"|[0-9a-f]{7,64}$",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"[-_.@]+")


@dataclass(frozen=True)
class ArchiveName:
    """The repository and revision that are recorded; the revision is empty if the name has none."""

    repository: str
    revision: str


def stem(url: str, suffixes: tuple[str, ...]) -> str:
    """An archive's file name without its suffix."""
    name = PurePosixPath(url).name
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def parse_archive_name(name: str, *, is_wheel: bool = False) -> ArchiveName:
    """Parse `foo-1.2` as foo at 1.2; a suffix that is no revision belongs to the name."""
    if is_wheel and name.count("-") >= 4:  # NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM
        repository, version = name.split("-")[:2]
        return ArchiveName(repository, version)
    for separator in re.finditer("[-_]", name):
        suffix = name[separator.end() :]
        is_revision = (
            _VERSION.fullmatch(suffix) or _BRANCH.fullmatch(suffix) or _COMMIT.fullmatch(suffix)
        )
        if separator.start() and is_revision:
            return ArchiveName(name[: separator.start()], re.sub(r"^v(?=\d)", "", suffix))
    return ArchiveName(name, "")


def candidate_repositories(name: str, *, is_any_ref: bool = False) -> Iterator[str]:
    """Every repository that an archive of this name may be of, including the recorded one.

    `is_any_ref`: `git archive` wrote the archive, so that any suffix may be a branch's name.
    GitHub's `owner-name-commit` is also read as `owner/name`.
    """
    yield parse_archive_name(name).repository
    yield name
    for separator in _SEPARATOR.finditer(name):
        prefix, suffix = name[: separator.start()], name[separator.end() :]
        if not prefix or not (is_any_ref or _MAY_BE_REVISION.match(suffix)):
            continue
        yield prefix
        if _COMMIT.fullmatch(suffix):
            for dash in re.finditer("-", prefix):
                yield f"{prefix[: dash.start()]}/{prefix[dash.end() :]}"
