"""The graph's steps in the order in which a whole recipe is made."""

import graphlib
from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph


def steps(graph: AssetGraph) -> Iterator[tuple[list[dg.AssetKey], str | None]]:
    """What to run, in order: assets that run together, and the partition, if any."""
    together = {
        key: tuple(sorted(graph.get(key).execution_set_asset_keys))
        for key in graph.toposorted_asset_keys
        if graph.get(key).is_executable
    }
    before: dict[tuple[dg.AssetKey, ...], set[tuple[dg.AssetKey, ...]]] = {}
    for key, keys in together.items():
        parents = {together[parent] for parent in graph.get(key).parent_keys if parent in together}
        before.setdefault(keys, set()).update(parents - {keys})
    for keys in graphlib.TopologicalSorter(before).static_order():
        partitions = graph.get(keys[0]).partitions_def
        if partitions is None:
            yield list(keys), None
        else:
            for name in partitions.get_partition_keys():
                yield list(keys), name
