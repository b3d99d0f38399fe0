"""Why one address is not another: settings, inputs, code version; as short phrases."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Made(Protocol):
    """A generation as somebody names it: what it was, or would be, made from."""

    @property
    def code_version(self) -> str: ...
    @property
    def settings(self) -> Any: ...


def changed_settings(before: Any, after: Any) -> list[str]:
    """`rules.max_lines 1000 -> 2000` for each number that is not the same."""
    old, new = _flat(before), _flat(after)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}" for name in names]


def changed_code(before: Made, after: Made) -> list[str]:
    if before.code_version == after.code_version:
        return []
    return [f"code version {before.code_version} -> {after.code_version}"]


def by_asset(told: str, inputs: Iterable[tuple[str, str]]) -> list[str]:
    """`its input documents [a, b] is new`: a phrase for each asset, its partitions together."""
    partitions: dict[str, list[str]] = {}
    for asset, partition in inputs:
        partitions.setdefault(asset, []).append(partition)
    return [
        f"its input {asset}{'' if names == ['all'] else f' [{_few(names)}]'} {told}"
        for asset, names in partitions.items()
    ]


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} partitions"


def _flat(settings: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(settings, Mapping):
        text = json.dumps(settings)
        return {prefix: text if len(text) <= 40 else f"{text[:37]}..."} if prefix else {}
    found: dict[str, str] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found
