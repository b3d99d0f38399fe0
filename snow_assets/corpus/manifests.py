"""Licences stated in a package's own manifest: PKG-INFO, METADATA, package.json, pyproject.toml."""

import email.parser
import json
import re
import tomllib
from collections.abc import Mapping
from functools import partial
from typing import Any

from snow_assets.corpus.foreign import ParserFailure, parse_foreign
from snow_assets.corpus.licenses import Statement, spelled, stated_by_author

_FORGE = re.compile(
    r"(?:github\.com|gitlab\.com|bitbucket\.org|codeberg\.org)[/:]([\w.-]{1,100}/[\w.-]{1,100})",
    re.ASCII,
)
_ADDRESS_KEYS = ("repository", "homepage", "Homepage", "Repository", "Source", "Source Code")
_MAX_KEY_PARTS = 64
_KEY_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_PART}\.[ \t]*+){{{_MAX_KEY_PARTS}}}", re.ASCII)
MANIFESTS = ("PKG-INFO", "METADATA", "package.json", "pyproject.toml", "Cargo.toml")


def stated_in_manifests(texts: Mapping[str, str]) -> Statement:
    """What the first manifest that states a licence says; `texts` are by file name."""
    for name in MANIFESTS:
        if name in texts:
            stated = parse_foreign(partial(_stated, name, texts[name]))
            if not isinstance(stated, ParserFailure) and stated.expression:
                return stated
    return Statement(None, "no LICENSE above the file, and no licence in the repository's metadata")


def repositories_in_manifests(texts: Mapping[str, str]) -> list[str]:
    """Names and forge addresses (`owner/name`) under which manifests say that the code is known."""
    names: list[str] = []
    for name, text in texts.items():
        stated = parse_foreign(partial(_stated_names, name, text))
        names += [] if isinstance(stated, ParserFailure) else stated
    return list(dict.fromkeys(names))


def _stated_names(name: str, text: str) -> list[str]:
    if name in {"PKG-INFO", "METADATA"}:
        headers = email.parser.HeaderParser().parsestr(text)
        values: list[Any] = [headers.get("Name")]
        addresses: list[Any] = [headers.get("Home-page"), headers.get("Download-URL")]
        addresses += headers.get_all("Project-URL") or []
    else:
        content = _parsed(name, text)
        sections = [_object(content)] if name == "package.json" else _sections(content)
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
    """The parts of a TOML manifest that describe the package: PEP 621's, Cargo's, Poetry's."""
    parts = [content.get("project"), content.get("package"), _object(content.get("tool"))]
    return [_object(part) for part in (*parts[:2], parts[2].get("poetry"))]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parsed(name: str, text: str) -> Any:
    """A manifest's content; raises whatever hostile text makes its parser raise."""
    if name == "package.json":
        return json.loads(text)
    # tomllib keeps every prefix of a dotted key: memory and time grow with the square of its parts.
    if _LONG_KEY.search(text):
        raise ValueError(f"{name} has a key of over {_MAX_KEY_PARTS} parts")
    return tomllib.loads(text)


def _stated(name: str, text: str) -> Statement:
    if name in {"PKG-INFO", "METADATA"}:
        headers = email.parser.HeaderParser().parsestr(text)
        return stated_by_author(
            expression=headers.get("License-Expression"),
            field=headers.get("License"),
            classifiers=headers.get_all("Classifier") or [],
            texts={},
            where=name,
        )
    content = _parsed(name, text)
    part = "project" if name == "pyproject.toml" else "package"
    found: Any = content if name == "package.json" else content.get(part)
    license_ = found.get("license") if isinstance(found, dict) else None
    if isinstance(license_, dict):  # npm's and PEP 621's old forms
        license_ = license_.get("type") or license_.get("text")
    if not isinstance(license_, str) or len(license_) > 200:
        return Statement(None, f"{name}: no licence")
    return Statement(spelled(license_), f"{name}: license: {license_}")
