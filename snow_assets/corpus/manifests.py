"""Licences stated in a package's own manifest: PKG-INFO, METADATA, package.json, pyproject.toml."""

import email.parser
import json
import tomllib
from collections.abc import Mapping
from typing import Any

from snow_assets.corpus.licenses import Statement, spelled, stated_by_author

MANIFESTS = ("PKG-INFO", "METADATA", "package.json", "pyproject.toml", "Cargo.toml")


def stated_in_manifests(texts: Mapping[str, str]) -> Statement:
    """What the first manifest that states a licence says; `texts` are by file name."""
    for name in MANIFESTS:
        if name in texts:
            stated = _stated(name, texts[name])
            if stated.expression:
                return stated
    return Statement(None, "no LICENSE above the file, and no licence in the repository's metadata")


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
    try:
        content = json.loads(text) if name == "package.json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        return Statement(None, f"{name} is broken: {error}")
    part = "project" if name == "pyproject.toml" else "package"
    found: Any = content if name == "package.json" else content.get(part)
    license_ = found.get("license") if isinstance(found, dict) else None
    if isinstance(license_, dict):  # npm's and PEP 621's old forms
        license_ = license_.get("type") or license_.get("text")
    if not isinstance(license_, str) or len(license_) > 200:
        return Statement(None, f"{name}: no licence")
    return Statement(spelled(license_), f"{name}: license: {license_}")
