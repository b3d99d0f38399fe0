"""Which files of a repository state a licence, and which statement is nearest to a file.

The same rule for every kind of source. From the file's own folder upwards, the first folder that
states a licence decides, also if its statement cannot be read or is not permissive. In a folder
come first what REUSE says of the file (`NAME.license`, REUSE.toml), then its licence files together
with LICENSES/ (all of them apply), then its manifests. A manifest beside a licence file counts as
well: if the two differ, both apply.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import PurePosixPath

from snow_assets.corpus.foreign import ParserFailure, parse_foreign
from snow_assets.corpus.license_statements import Statement, both_apply
from snow_assets.corpus.licenses import stated_in_text
from snow_assets.corpus.manifests import (
    MANIFESTS,
    PYTHON_METADATA,
    is_cargo_workspace,
    load_toml,
    stated_in_manifests,
)
from snow_assets.corpus.spdx import conjunction, listed_identifiers

FolderTexts = Mapping[str, str | None]
"""The statement files of one folder by name, `LICENSES/NAME` too; None: one that is not readable,
such as a link that leaves the repository."""

LICENSES_FOLDER = "LICENSES"
REUSE_TOML = "REUSE.toml"
NO_STATEMENT = "no LICENSE above the file, and no licence in the repository's metadata"

_BASE = re.compile(
    r"(?:(?P<before>[a-z0-9.]+)[-_.])?(?:(?:un)?licen[cs]e|copying|eula)(?P<after>.*)"
)
_TEXT_SUFFIX = re.compile(r"\.(?:txt|text|md|markdown|rst|html?|adoc|asc|org|pdf|rtf|docx?)$")
_FAMILY = re.compile(
    r"(?:mit|x11|expat|isc|zlib|libpng|ncsa|psf|python|boost|bsl|unlicense|wtfpl|hpnd|artistic"
    r"|apache|apl|asl|al|bsd|[234]-?clause|cc0|cc-?by(?:-?(?:nc|nd|sa))*|[al]?gpl|fdl|gfdl|mpl|epl"
    r"|cpl|cddl|eupl|ofl|busl|sspl|elastic|lesser|lib|library|lgpl|runtime|exception|terms|main"
    r"|proprietary|commercial|enterprise|ee|eula|code|source|src|v?\d+(?:\.\d+)*)"
)


def is_license_file(name: str) -> bool:
    """LICENSE, LICENCE, COPYING, UNLICENSE and EULA, with the name of a licence before or behind.

    `LICENSE-MIT`, `COPYING.LESSER`, `MIT-LICENSE.txt`, `LICENSE.md`; not source files, nor notices
    of third parties (`LICENSE.third-party`), nor any other name that begins so.
    """
    match = _BASE.fullmatch(_TEXT_SUFFIX.sub("", name.lower()))
    return match is not None and all(_is_license_name(match[part]) for part in ("before", "after"))


def is_statement_file(name: str) -> bool:
    """Whether a file by this name is read for licences at all."""
    return (
        is_license_file(name)
        or name in MANIFESTS
        or name == REUSE_TOML
        or name.lower().endswith(".license")
    )


def is_below_licenses_folder(path: str) -> bool:
    """Whether a path, relative to a folder, is one of REUSE's licence texts."""
    return path.startswith(LICENSES_FOLDER + "/")


class NearestStatement:
    """Finds the statement that holds for a path; each folder is read once, the last ones kept.

    `read_folder` gets a folder's path in the repository ("": its top). `whole` is what the
    repository's own metadata says, if that stands outside its folders.
    """

    def __init__(
        self, read_folder: Callable[[str], FolderTexts], *, whole: Statement | None = None
    ) -> None:
        self._texts = lru_cache(maxsize=256)(read_folder)
        self._folder_statement = lru_cache(maxsize=4_096)(self._read_folder_statement)
        self._whole = whole

    def of(self, path: str) -> Statement:
        """The statement for the file at `path`; its own header, which overrules it, is not read."""
        parents = [
            "" if str(parent) == "." else str(parent) for parent in PurePosixPath(path).parents
        ]
        sidecar = PurePosixPath(path).name + ".license"
        if sidecar in self._texts(parents[0]):
            return stated_in_sidecar(self._texts(parents[0])[sidecar], path + ".license")
        for folder in parents:
            if REUSE_TOML in self._texts(folder):
                annotated = _annotated(self._texts(folder)[REUSE_TOML], folder, path)
                if annotated is not None:
                    return annotated
            if statement := self._folder_statement(folder):
                return statement
            if not folder:
                break
        return self._whole or Statement(None, NO_STATEMENT)

    def _read_folder_statement(self, folder: str) -> Statement | None:
        texts = self._texts(folder)
        where = f"{folder}/" if folder else ""
        license_texts = {
            name: text
            for name, text in texts.items()
            if is_license_file(name) or is_below_licenses_folder(name)
        }
        manifests = {name: text or "" for name, text in texts.items() if name in MANIFESTS}
        if PYTHON_METADATA.intersection(manifests) and None not in license_texts.values():
            readable = {name: text or "" for name, text in license_texts.items()}
            return stated_in_manifests(manifests, license_texts=readable, where=where)
        by_files = [
            Statement(None, f"{where}{name}: not a plain file of the repository")
            if text is None
            else stated_in_text(text, where + name)
            for name, text in sorted(license_texts.items())
        ]
        by_manifest = stated_in_manifests(manifests, workspace=self._workspace(folder), where=where)
        if not by_files:
            return by_manifest
        if by_manifest is not None and by_manifest.expression is not None:
            by_files.append(by_manifest)
        return both_apply(by_files)

    def _workspace(self, folder: str) -> str | None:
        """The Cargo.toml of the nearest workspace above a folder."""
        for parent in PurePosixPath(folder).parents if folder else ():
            text = self._texts("" if str(parent) == "." else str(parent)).get("Cargo.toml")
            if text and is_cargo_workspace(text):
                return text
        return None


def by_folder(texts: Mapping[str, str | None]) -> dict[str, dict[str, str | None]]:
    """Statement files by path, grouped as FolderTexts by their folder."""
    folders: dict[str, dict[str, str | None]] = {}
    for path, text in texts.items():
        parts = path.split("/")
        if LICENSES_FOLDER in parts[:-1]:
            depth = parts.index(LICENSES_FOLDER)
        else:
            depth = len(parts) - 1
        folders.setdefault("/".join(parts[:depth]), {})["/".join(parts[depth:])] = text
    return folders


def stated_in_sidecar(text: str | None, where: str) -> Statement:
    """What REUSE's `NAME.license` says of the file beside it."""
    tags = re.findall(r"SPDX-License-Identifier:[ \t]*(.+?)[ \t]*$", text or "", re.MULTILINE)
    return Statement(conjunction(tags) if tags else None, where)


def _annotated(text: str | None, folder: str, path: str) -> Statement | None:
    """What REUSE.toml says of the file; one that is broken is unreadable."""
    where = f"{folder}/{REUSE_TOML}" if folder else REUSE_TOML
    relative = path.removeprefix(f"{folder}/") if folder else path
    annotated = parse_foreign(partial(_last_annotation, text or "", relative, where))
    if isinstance(annotated, ParserFailure):
        return Statement(None, f"{where} is broken: {annotated.evidence}")
    return annotated


def _last_annotation(text: str, path: str, where: str) -> Statement | None:
    """The last table whose globs match; raises what a text of another shape raises."""
    matching = [
        table
        for table in load_toml(text)["annotations"]
        if any(_glob(glob).fullmatch(path) for glob in _list(table["path"]))
    ]
    if not matching:
        return None
    expressions = [str(part) for part in _list(matching[-1].get("SPDX-License-Identifier", []))]
    if not expressions:
        return None
    is_closest = matching[-1].get("precedence", "closest") == "closest"
    return Statement(conjunction(expressions), where, adds_to_header=not is_closest)


def _glob(pattern: object) -> re.Pattern[str]:
    """REUSE's globs: `*` within a folder, `**` across folders, a backslash before a literal."""
    parts = {"**": ".*", "*": "[^/]*"}
    tokens = re.findall(r"\\.|\*\*|.", str(pattern)[:1_000], re.DOTALL)
    return re.compile("".join(parts.get(token) or re.escape(token[-1]) for token in tokens))


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else [value]


def _is_license_name(part: str | None) -> bool:
    """Whether what stands beside LICENSE names a licence: an SPDX identifier, or a family."""
    name = (part or "").strip("-_. ()")
    if not name or name in listed_identifiers():
        return True
    return all(_FAMILY.fullmatch(word) for word in re.split(r"[-_. ]+", name) if word)
