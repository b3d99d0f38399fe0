"""A tiny lake: artifacts with manifests and pointers, and rows of the tables' schemas."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from snow_assets.storage import shards
from tests import artifacts

RECIPE = "TINY"


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def row_of(schema: pa.Schema, **given: Any) -> dict[str, Any]:
    """A row with plain values of the right type where none is given; nullable columns are null."""
    unknown = set(given) - set(schema.names)
    assert not unknown, f"no such columns: {sorted(unknown)}"
    made = {}
    for column in schema:
        if column.name in given:
            made[column.name] = given[column.name]
        elif column.nullable:
            made[column.name] = None
        elif pa.types.is_string(column.type):
            made[column.name] = f"some {column.name}"
        elif pa.types.is_binary(column.type):
            made[column.name] = b"x = 1\n"
        elif pa.types.is_boolean(column.type):
            made[column.name] = False
        else:
            made[column.name] = 1
    return made


@dataclass
class TinyLake:
    """Artifacts with pointers in a lake; `made` remembers each asset's newest as an input."""

    url: str
    made: dict[tuple[str, str], shards.Input] = field(default_factory=dict)
    recipe: str = RECIPE

    def put(
        self,
        asset: str,
        tables: Mapping[str, tuple[pa.Schema, Sequence[Mapping[str, Any]]]],
        *,
        partition: str = "all",
        fingerprint: str = "1",
        inputs: Sequence[tuple[str, str]] = (),
        stats: Mapping[str, Any] | None = None,
        point: bool = True,
    ) -> str:
        """Finish an artifact and, unless told otherwise, point the recipe to it."""
        folder = f"{self.url}/{asset}/{partition}/{fingerprint}"
        for table, (schema, content) in tables.items():
            shards.put_table(folder, table, 0, list(content), schema)
        shards.finish(
            folder,
            asset=asset,
            partition=partition,
            fingerprint=fingerprint,
            code_version="1",
            recipe=self.recipe,
            config={},
            inputs=[self.made[name] for name in inputs],
            stats=dict(stats or {}),
        )
        self.made[asset, partition] = artifacts.as_input(folder)
        if point:
            artifacts.point(self.url, folder, self.recipe)
        return folder

    def current(self) -> list[str]:
        """The URLs of all artifacts that the recipe's pointers name."""
        root = f"{self.url}/current/{self.recipe}"
        return [
            f"{self.url}/{asset}/{name.removesuffix('.json')}/"
            + json.loads(shards.get(f"{root}/{asset}/{name}"))["fingerprint"]
            for asset in shards.names(root)
            for name in shards.names(f"{root}/{asset}")
        ]


def provenance(name: str, *, repository: str = "flask", path: str | None = None) -> dict[str, Any]:
    return {
        "document_id": sha(name),
        "raw_id": sha(f"raw {name}"),
        "source": "web",
        "repository": repository,
        "revision": "1.0",
        "path": path or f"{name}.py",
        "license": "MIT",
    }


def text_of(name: str) -> str:
    return sha(f"text {name}")
