"""Why two artifacts' fingerprints differ: config, inputs, code version; as short phrases."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class ArtifactSpec(Protocol):
    """Code version and config of an existing or planned artifact."""

    @property
    def code_version(self) -> str: ...
    @property
    def config(self) -> Any: ...


def changed_config(before: Any, after: Any) -> list[str]:
    """`rules.max_lines 1000 -> 2000` for each setting that differs."""
    old, new = _flatten(before), _flatten(after)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}" for name in names]


def changed_code(before: ArtifactSpec, after: ArtifactSpec) -> list[str]:
    if before.code_version == after.code_version:
        return []
    return [f"code version {before.code_version} -> {after.code_version}"]


def by_asset(change: str, inputs: Iterable[tuple[str, str]]) -> list[str]:
    """`its input documents [a, b] is new`: a phrase per asset with all its partitions."""
    partitions: dict[str, list[str]] = {}
    for asset, partition in inputs:
        partitions.setdefault(asset, []).append(partition)
    return [
        f"its input {asset}{'' if names == ['all'] else f' [{_abbreviate(names)}]'} {change}"
        for asset, names in partitions.items()
    ]


def _abbreviate(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} partitions"


def _flatten(config: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(config, Mapping):
        text = json.dumps(config)
        return {prefix: text if len(text) <= 40 else f"{text[:37]}..."} if prefix else {}
    flat: dict[str, str] = {}
    for name, value in config.items():
        flat |= _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat
