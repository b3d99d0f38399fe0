"""Names under which repositories were ingested, to look an opt-out up in a lake.

A row names a repository as its source does: by a folder, an archive or a distribution. An opt-out
may name it by a remote of the clone or with its owner. Ingest matches both, and records every name
beside the shards; a purged artifact's names stand in its tombstone.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping

from snow_assets.corpus.raw_shards import FILES
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_rows import Gate
from snow_assets.storage import shards
from snow_assets.storage.lake_folders import TOMBSTONES


def ingested_names(raw_folder: str) -> dict[str, list[str]]:
    """Repository -> its other names, of a raw artifact, finished or purged.

    Memory: the names. An artifact that is neither finished nor purged has none.
    """
    if shards.is_finished(raw_folder):
        return _names(entry.stats for entry in shards.manifest(raw_folder).tables(FILES))
    lake, asset, partition, fingerprint = raw_folder.rstrip("/").rsplit("/", 3)
    tombstone = shards.join(lake, TOMBSTONES, asset, partition, f"{fingerprint}.json")
    if not shards.exists(tombstone):
        return {}
    return _names(_purged_stats(tombstone))


def purged_folders(lake: str, asset: str) -> list[str]:
    """The folders that a stage's purged artifacts had, by partition and name."""
    root = shards.join(lake, TOMBSTONES, asset)
    return [
        shards.join(lake, asset, partition, name.removesuffix(".json"))
        for partition in shards.names(root)
        for name in shards.names(shards.join(root, partition))
    ]


def with_ingested_names(opted_out: Collection[str], raw_folders: Iterable[str]) -> frozenset[str]:
    """The list, and the names that rows of these raw artifacts have for what it lists."""
    listed = set(opted_out)
    gate = Gate(opted_out=frozenset(opted_out), exemplars=frozenset())
    for folder in raw_folders:
        for repository, names in ingested_names(folder).items():
            if any(gate.refuses_reading(name) for name in names):
                listed.add(canonical(repository))
    return frozenset(listed)


def _names(stats: Iterable[Mapping[str, object]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for shard_stats in stats:
        recorded = shard_stats.get("names", {})
        if isinstance(recorded, dict):
            names.update(recorded)
    return names


def _purged_stats(tombstone: str) -> Iterator[Mapping[str, object]]:
    content = json.loads(shards.get(tombstone))
    manifest = content.get("manifest") or content
    for entry in manifest.get("files") or []:
        yield entry.get("stats") or {}
