"""Manifests and pointers of artifacts that tests write, as the product writes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets.storage import shards
from snow_assets.storage.pointers import pointer_content


def finish(
    folder: str,
    *,
    inputs: Sequence[str] = (),
    stats: Mapping[str, Any] | None = None,
    recipe: str = "SMOKE",
) -> str:
    """Write the manifest of an artifact whose URL ends in asset/partition/fingerprint."""
    asset, partition, fingerprint = folder.rsplit("/", 3)[1:]
    shards.finish(
        folder,
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe=recipe,
        config={},
        inputs=[as_input(url) for url in inputs],
        stats=dict(stats or {}),
    )
    return folder


def as_input(folder: str) -> shards.Input:
    """A finished artifact as an input of another one."""
    asset, partition, fingerprint = folder.rsplit("/", 3)[1:]
    digest = shards.manifest(folder).digest
    return shards.Input(asset=asset, partition=partition, fingerprint=fingerprint, digest=digest)


def point(lake: str, folder: str, recipe: str = "SMOKE") -> None:
    """Make a finished artifact the current one of a recipe."""
    asset, partition, fingerprint = folder.rsplit("/", 3)[1:]
    content = pointer_content(fingerprint, shards.manifest(folder).digest, {})
    shards.put(f"{lake}/current/{recipe}/{asset}/{partition}.json", content)
