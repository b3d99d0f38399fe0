"""Which repository an archive is of, by its name: what to record, and every other reading of it.

`angular-2-storage-master` may be angular-2-storage at master, or angular at 2-storage-master. One
reading is recorded, so that different repositories never become one; all of them are compared with
the opt-out list, so that none is missed.
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
# What may begin a version, a branch or a tag in a reading that only the opt-out list uses.
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
    """An archive's file name without the ending that says what it is."""
    name = PurePosixPath(url).name
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def parsed(name: str, *, is_wheel: bool = False) -> ArchiveName:
    """`foo-1.2` is foo at 1.2; a rest that does not look like a revision stays in the name."""
    if is_wheel and name.count("-") >= 4:  # NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM
        repository, version = name.split("-")[:2]
        return ArchiveName(repository, version)
    for separator in re.finditer("[-_]", name):
        rest = name[separator.end() :]
        is_revision = _VERSION.fullmatch(rest) or _BRANCH.fullmatch(rest) or _COMMIT.fullmatch(rest)
        if separator.start() and is_revision:
            return ArchiveName(name[: separator.start()], re.sub(r"^v(?=\d)", "", rest))
    return ArchiveName(name, "")


def readings(name: str, *, is_any_ref: bool = False) -> Iterator[str]:
    """Every repository that an archive of this name may be of, the recorded one among them.

    `is_any_ref`: git itself wrote the archive, so that anything may be the name of a branch.
    GitHub's `owner-name-commit` is also read as `owner/name`.
    """
    yield parsed(name).repository
    yield name
    for separator in _SEPARATOR.finditer(name):
        prefix, rest = name[: separator.start()], name[separator.end() :]
        if not prefix or not (is_any_ref or _MAY_BE_REVISION.match(rest)):
            continue
        yield prefix
        if _COMMIT.fullmatch(rest):
            for dash in re.finditer("-", prefix):
                yield f"{prefix[: dash.start()]}/{prefix[dash.end() :]}"
