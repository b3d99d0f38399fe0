"""Licence files of a repository, and the nearest licence statement of a file.

All kinds of sources use the same rule. From the file's own folder upwards, the first folder with a
licence statement decides, also if the statement cannot be parsed or is not permissive. Order within
a folder: REUSE's statements (`NAME.license`, REUSE.toml), then licence files together with
LICENSES/ (all of them apply), then manifests. A manifest in the folder of a licence file counts as
well: if the two differ, their conjunction applies.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import PurePosixPath

from snow_assets.corpus.license_statements import Statement, combine_statements
from snow_assets.corpus.licenses import parse_license_text
from snow_assets.corpus.manifests import (
    MANIFESTS,
    PYTHON_METADATA,
    is_cargo_workspace,
    load_toml,
    stated_in_manifests,
)
from snow_assets.corpus.spdx import conjunction, listed_identifiers
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted

FolderTexts = Mapping[str, str | None]
"""The statement files of a folder by name, also `LICENSES/NAME`; None: the file is not readable,
such as a link to outside the repository."""

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
    """Match LICENSE, LICENCE, COPYING, UNLICENSE and EULA, with a licence as prefix or suffix.

    `LICENSE-MIT`, `COPYING.LESSER`, `MIT-LICENSE.txt`, `LICENSE.md`; not source files, third-party
    notices (`LICENSE.third-party`), or other names with this prefix.
    """
    match = _BASE.fullmatch(_TEXT_SUFFIX.sub("", name.lower()))
    return match is not None and all(_is_license_name(match[part]) for part in ("before", "after"))


def is_statement_file(name: str) -> bool:
    """Whether a file of this name is read for licence statements."""
    return (
        is_license_file(name)
        or name in MANIFESTS
        or name == REUSE_TOML
        or name.lower().endswith(".license")
    )


class NearestStatement:
    """Finds the licence statement that applies to a path; folders are read once and cached.

    `read_folder`: from a folder's path in the repository ("": its top) to its statement files.
    `whole`: the statement of the repository's metadata, if that is not in its folders.
    """

    def __init__(
        self, read_folder: Callable[[str], FolderTexts], *, whole: Statement | None = None
    ) -> None:
        self._texts = lru_cache(maxsize=256)(read_folder)
        self._folder_statement = lru_cache(maxsize=4_096)(self._read_folder_statement)
        self._whole = whole

    def of(self, path: str) -> Statement:
        """The statement for the file at `path`, without its header, which takes precedence."""
        parents = [
            "" if str(parent) == "." else str(parent) for parent in PurePosixPath(path).parents
        ]
        sidecar = PurePosixPath(path).name + ".license"
        if sidecar in self._texts(parents[0]):
            return stated_in_sidecar(self._texts(parents[0])[sidecar], path + ".license")
        for folder in parents:
            if REUSE_TOML in self._texts(folder):
                reuse_statement = _reuse_toml_statement(
                    self._texts(folder)[REUSE_TOML], folder, path
                )
                if reuse_statement is not None:
                    return reuse_statement
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
            if is_license_file(name) or name.startswith(f"{LICENSES_FOLDER}/")
        }
        manifests = {name: text or "" for name, text in texts.items() if name in MANIFESTS}
        if PYTHON_METADATA.intersection(manifests) and None not in license_texts.values():
            readable = {name: text or "" for name, text in license_texts.items()}
            return stated_in_manifests(manifests, license_texts=readable, where=where)
        by_files = [
            Statement(None, f"{where}{name}: not a plain file of the repository")
            if text is None
            else parse_license_text(text, where + name)
            for name, text in sorted(license_texts.items())
        ]
        by_manifest = stated_in_manifests(manifests, workspace=self._workspace(folder), where=where)
        if not by_files:
            return by_manifest
        if by_manifest is not None and by_manifest.expression is not None:
            by_files.append(by_manifest)
        return combine_statements(by_files)

    def _workspace(self, folder: str) -> str | None:
        """The Cargo.toml of the nearest workspace above a folder."""
        for parent in PurePosixPath(folder).parents if folder else ():
            text = self._texts("" if str(parent) == "." else str(parent)).get("Cargo.toml")
            if text and is_cargo_workspace(text):
                return text
        return None


def by_folder(texts: Mapping[str, str | None]) -> dict[str, dict[str, str | None]]:
    """Group statement files by folder, as FolderTexts."""
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
    """The statement of REUSE's `NAME.license`, which applies to the file NAME."""
    tags = re.findall(r"SPDX-License-Identifier:[ \t]*(.+?)[ \t]*$", text or "", re.MULTILINE)
    return Statement(conjunction(tags) if tags else None, where)


def _reuse_toml_statement(text: str | None, folder: str, path: str) -> Statement | None:
    """REUSE.toml's statement for the file, if any; unknown if REUSE.toml is broken."""
    where = f"{folder}/{REUSE_TOML}" if folder else REUSE_TOML
    relative = path.removeprefix(f"{folder}/") if folder else path
    statement = parse_untrusted(partial(_last_annotation, text or "", relative, where))
    if isinstance(statement, ParserFailure):
        return Statement(None, f"{where} is broken: {statement.evidence}")
    return statement


def _last_annotation(text: str, path: str, where: str) -> Statement | None:
    """The statement of the last table whose globs match; hostile texts may raise any exception."""
    matching = [
        table
        for table in load_toml(text)["annotations"]
        if any(_glob(glob).fullmatch(path) for glob in _as_list(table["path"]))
    ]
    if not matching:
        return None
    expressions = [str(part) for part in _as_list(matching[-1].get("SPDX-License-Identifier", []))]
    if not expressions:
        return None
    is_closest = matching[-1].get("precedence", "closest") == "closest"
    return Statement(conjunction(expressions), where, adds_to_header=not is_closest)


def _glob(pattern: object) -> re.Pattern[str]:
    """Compile a REUSE glob: `*` within a folder, `**` across folders, backslash escapes."""
    parts = {"**": ".*", "*": "[^/]*"}
    tokens = re.findall(r"\\.|\*\*|.", str(pattern)[:1_000], re.DOTALL)
    return re.compile("".join(parts.get(token) or re.escape(token[-1]) for token in tokens))


def _as_list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else [value]


def _is_license_name(part: str | None) -> bool:
    """Whether a prefix or suffix of LICENSE names a licence: an SPDX identifier, or a family."""
    name = (part or "").strip("-_. ()")
    if not name or name in listed_identifiers():
        return True
    return all(_FAMILY.fullmatch(word) for word in re.split(r"[-_. ]+", name) if word)
