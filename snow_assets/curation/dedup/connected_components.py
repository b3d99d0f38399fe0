"""Connected components of verified pairs: a spanning forest per shard, then a single union-find.

The order of the pairs does not matter. A shard of pairs is reduced to one edge per text, from the
text to the smallest text of its component in the shard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.dedup.text_keys import TextKeys, text_keys
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.storage import shards

Nodes = npt.NDArray[np.int64]

_FOREST = pa.schema([("text", pa.uint64()), ("root", pa.uint64()), ("jaccard", pa.float64())])


@dataclass(frozen=True, kw_only=True)
class Components:
    """Connected components of the texts in verified pairs. Memory: 24 bytes per text."""

    keys: TextKeys  # ascending
    roots: TextKeys  # the smallest key of the component of each text
    jaccards: npt.NDArray[np.float64]  # of each text with its nearest verified neighbour


def connected_components(left: Nodes, right: Nodes, num_nodes: int) -> Nodes:
    """For each node in [0, num_nodes) the smallest node of its component."""
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.dedup.minhash import union_find

    parents = np.arange(num_nodes)
    union_find(left, right, parents)
    return parents


def components_of(folders: Sequence[str], exchange: Exchange) -> Components:
    """The components of the pairs in `pairs` of `verified_pairs` artifacts.

    Memory of this process: 24 bytes per text and shard of pairs that it is in, three times.
    """
    pair_shards = [
        (folder, entry.name)
        for folder in folders
        for entry in shards.manifest(folder).tables("pairs")
    ]
    return merge_forests(
        exchange.gather(exchange.map_shards(_shard_forest, pair_shards, schema=_FOREST))
    )


def _shard_forest(pair_shard: tuple[str, str]) -> pa.Table:
    pairs = shards.read_shard(*pair_shard)
    left, right = text_keys(pairs["text_id"]), text_keys(pairs["other_text_id"])
    return spanning_forest(left, right, pairs["jaccard"].to_numpy())


def spanning_forest(left: TextKeys, right: TextKeys, jaccards: npt.NDArray[np.float64]) -> pa.Table:
    """A row per text in a pair: its root among these pairs, and its greatest similarity."""
    keys, endpoints = np.unique(np.concatenate([left, right]), return_inverse=True)
    left_nodes, right_nodes = np.split(endpoints, 2)
    greatest = np.zeros(len(keys))
    for nodes in (left_nodes, right_nodes):
        np.maximum.at(greatest, nodes, jaccards)
    roots = keys[connected_components(left_nodes, right_nodes, len(keys))]
    return pa.table([pa.array(keys), pa.array(roots), pa.array(greatest)], schema=_FOREST)


def merge_forests(forests: Iterable[pa.Table]) -> Components:
    """The components of all edges of spanning forests."""
    edges = pa.concat_tables([_FOREST.empty_table(), *forests])
    keys, left = np.unique(edges["text"].to_numpy(), return_inverse=True)
    right = np.searchsorted(keys, edges["root"].to_numpy())
    greatest = np.zeros(len(keys))
    np.maximum.at(greatest, left, edges["jaccard"].to_numpy())
    roots = keys[connected_components(left, right, len(keys))]
    return Components(keys=keys, roots=roots, jaccards=greatest)
