"""Licences stated in package manifests: Python metadata, package.json, Cargo.toml, ..."""

import email.parser
import json
import re
import tomllib
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from snow_assets.corpus.license_statements import Statement, combine_statements
from snow_assets.corpus.licenses import distribution_statement, normalize_license_name
from snow_assets.corpus.spdx import conjunction
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted

_FORGE = re.compile(
    r"(?:github\.com|gitlab\.com|bitbucket\.org|codeberg\.org)[/:]([\w.-]{1,100}/[\w.-]{1,100})",
    re.ASCII,
)
_ADDRESS_KEYS = ("repository", "homepage", "Homepage", "Repository", "Source", "Source Code")
PYTHON_METADATA = frozenset({"PKG-INFO", "METADATA"})
MANIFESTS = (
    "METADATA",
    "PKG-INFO",
    "pyproject.toml",
    "package.json",
    "Cargo.toml",
    "composer.json",
)
_MAX_KEY_PARTS = 64
_KEY_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_PART}\.[ \t]*+){{{_MAX_KEY_PARTS}}}", re.ASCII)
_INHERITED = {"workspace": True}
_MAX_FIELD_CHARS = 200


def stated_in_manifests(
    texts: Mapping[str, str],
    *,
    license_texts: Mapping[str, str] | None = None,
    workspace: str | None = None,
    where: str = "",
) -> Statement | None:
    """The combined licence statement of a folder's manifests; None if they state no licence.

    `license_texts`: LICENSE files that are read with Python metadata; `workspace`: the Cargo.toml
    that `license.workspace = true` refers to. A broken manifest, or a licence that cannot be read,
    is a Statement without an expression.
    """
    stated = [
        statement
        for name in MANIFESTS
        if name in texts
        and (statement := _read_manifest(name, texts[name], license_texts or {}, workspace, where))
    ]
    readable = [statement for statement in stated if statement.expression is not None]
    return combine_statements(readable) if readable else next(iter(stated), None)


def is_cargo_workspace(text: str) -> bool:
    """Whether a Cargo.toml is the root of a workspace."""
    content = _parse_manifest("Cargo.toml", text)
    return isinstance(content, dict) and "workspace" in content


def _read_manifest(
    name: str, text: str, license_texts: Mapping[str, str], workspace: str | None, where: str
) -> Statement | None:
    stated = parse_untrusted(
        partial(_manifest_statement, name, text, license_texts, workspace, where)
    )
    if isinstance(stated, ParserFailure):
        return Statement(None, f"{where}{name} is broken: {stated.evidence}")
    return stated


def _manifest_statement(
    name: str, text: str, license_texts: Mapping[str, str], workspace: str | None, where: str
) -> Statement | None:
    if name in PYTHON_METADATA:
        return _python_metadata(text, license_texts, where + name)
    content = _parse_manifest(name, text)
    if isinstance(content, ParserFailure):
        return Statement(None, f"{where}{name} is broken: {content.evidence}")
    if name == "Cargo.toml":
        license_, is_declared = _cargo_license(content, workspace)
    elif name == "pyproject.toml":
        license_, is_declared = _pyproject_license(content)
    else:
        license_, is_declared = _json_license(content)
    if not is_declared:
        return None
    # Cargo's manual: "Previously multiple licenses could be separated with a /", meaning OR.
    slash: Literal["AND", "OR"] = "OR" if name == "Cargo.toml" else "AND"
    expression = (
        normalize_license_name(license_, slash=slash) if isinstance(license_, str) else None
    )
    return Statement(expression, f"{where}{name}: license: {str(license_)[:_MAX_FIELD_CHARS]}")


def _parse_manifest(name: str, text: str) -> Any:
    """Parse a manifest; a ParserFailure if its parser raises any exception."""
    return parse_untrusted(partial(_parse, name, text))


def repositories_in_manifests(texts: Mapping[str, str]) -> list[str]:
    """Names and forge repositories (`owner/name`) that manifests state for the package."""
    names: list[str] = []
    for name, text in texts.items():
        stated = parse_untrusted(partial(_stated_names, name, text))
        names += [] if isinstance(stated, ParserFailure) else stated
    return list(dict.fromkeys(names))


def _stated_names(name: str, text: str) -> list[str]:
    if name in PYTHON_METADATA:
        headers = email.parser.HeaderParser().parsestr(text)
        values: list[Any] = [headers.get("Name")]
        addresses: list[Any] = [headers.get("Home-page"), headers.get("Download-URL")]
        addresses += headers.get_all("Project-URL") or []
    else:
        content = _parse(name, text)
        sections = [_object(content)] if name.endswith(".json") else _sections(content)
        values = [section.get("name") for section in sections]
        addresses = [section.get(key) for section in sections for key in _ADDRESS_KEYS] + [
            value for section in sections for value in _object(section.get("urls")).values()
        ]
        addresses += [_object(address).get("url") for address in addresses]
    matches = [_FORGE.search(address) for address in addresses if isinstance(address, str)]
    return [value for value in values if isinstance(value, str)] + [
        match[1].removesuffix(".git") for match in matches if match
    ]


def _sections(content: Any) -> list[dict[str, Any]]:
    """The sections of a TOML manifest that describe the package: PEP 621's, Cargo's, Poetry's."""
    parts = [content.get("project"), content.get("package"), _object(content.get("tool"))]
    return [_object(part) for part in (*parts[:2], parts[2].get("poetry"))]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parse(name: str, text: str) -> Any:
    if name.endswith(".json"):
        return json.loads(text)
    return load_toml(text)


def load_toml(text: str) -> dict[str, Any]:
    """Parse untrusted TOML; raises any exception of the parser.

    tomllib keeps every prefix of a dotted key: memory and time are quadratic in its parts, so that
    a long key is a ValueError.
    """
    if _LONG_KEY.search(text):
        raise ValueError(f"a key of over {_MAX_KEY_PARTS} parts")
    return tomllib.loads(text)


def _python_metadata(text: str, license_texts: Mapping[str, str], where: str) -> Statement | None:
    headers = email.parser.HeaderParser().parsestr(text)
    statement = distribution_statement(
        expression=headers.get("License-Expression"),
        field=headers.get("License"),
        classifiers=headers.get_all("Classifier") or [],
        texts=license_texts,
        where=where,
    )
    says_nothing = not (headers.get("License-Expression") or headers.get("License"))
    if says_nothing and not license_texts and statement.expression is None:
        return None
    return statement


def _cargo_license(content: Any, workspace: str | None) -> tuple[object, bool]:
    package = _table(content, "package")
    license_ = package.get("license", package.get("license-file"))
    if license_ == _INHERITED:
        shared = _table(
            _table(_parse_manifest("Cargo.toml", workspace or ""), "workspace"), "package"
        )
        return shared.get("license"), True
    return ("see file" if "license" not in package else license_), license_ is not None


def _pyproject_license(content: Any) -> tuple[object, bool]:
    """PEP 639's and PEP 621's forms, and Poetry's."""
    tables = _table(content, "project"), _table(_table(content, "tool"), "poetry")
    license_ = next((table["license"] for table in tables if "license" in table), None)
    if isinstance(license_, dict):
        if "file" in license_:  # the licence file is read as a statement of its own folder
            return None, False
        license_ = license_.get("text")
    if license_ is None:
        names = [
            str(name).split("::")[-1]
            for table in tables
            for name in _list(table.get("classifiers"))
            if "License ::" in str(name) and not str(name).endswith("OSI Approved")
        ]
        spellings = [normalize_license_name(name) for name in names]
        identifiers = [name for name in spellings if name]
        license_ = (
            conjunction(identifiers)
            if identifiers and len(identifiers) == len(names)
            else names or None
        )
    return license_, license_ is not None


def _json_license(content: Any) -> tuple[object, bool]:
    """npm's and Composer's: a name or expression, npm's old object, or a list of alternatives."""
    if not isinstance(content, dict):
        return None, False
    license_ = content.get("license", content.get("licenses"))
    if license_ in (None, [], ""):
        return None, False
    names = [part.get("type") if isinstance(part, dict) else part for part in _list(license_)]
    spellings = [normalize_license_name(name) if isinstance(name, str) else None for name in names]
    if len(names) > 1 and all(spellings):
        return " OR ".join(f"({name})" for name in spellings), True
    return names[0] if len(names) == 1 else names, True


def _table(content: Any, name: str) -> dict[str, Any]:
    table = content.get(name) if isinstance(content, dict) else None
    return table if isinstance(table, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]
