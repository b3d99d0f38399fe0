"""Asset metadata for Dagster: Markdown tables, a plot of document lengths."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snow_assets import markdown
from snow_assets.plots import Plot, as_plot, new_figure
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import ranges_of_ids
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DUPLICATE_CLUSTER

_MAX_ROWS = 20
_POWERS_OF_TWO = [2**power for power in range(63)]
_DUPLICATES = pa.schema([DUPLICATE_CLUSTER.field("cluster_id"), ("num_duplicates", pa.int64())])
_DUPLICATE_BYTES = 80  # an id and a number


def counts(stats: Mapping[str, Any]) -> dict[str, str]:
    return {"counts": markdown.table(["what", "number"], list(stats.items()))}


def clusters(
    folder: str, stats: Mapping[str, Any], *, exchange: Exchange = IN_PROCESS
) -> dict[str, str]:
    """The stats, and the largest clusters: the canonical document and the others are counted.

    Memory: that of the exchange, whatever the number of documents.
    """
    num_duplicates = stats["documents"] - stats["canonical"]
    duplicates = exchange.by_key(
        exchange.map_shards(
            _duplicates, shards.records(folder, "clusters"), schema=_DUPLICATES, folder=folder
        ),
        ranges_of_ids("cluster_id"),
        num_partitions=exchange.num_partitions(num_duplicates * _DUPLICATE_BYTES),
    )
    tables = exchange.gather(exchange.map_shards(_largest, duplicates, schema=_DUPLICATES))
    largest = _largest(pa.concat_tables([_DUPLICATES.empty_table(), *tables]))
    rows = [(row["cluster_id"], 1 + row["num_duplicates"]) for row in largest.to_pylist()]
    table = markdown.table(["canonical document", "documents"], rows)
    return {**counts(stats), "largest_clusters": table}


def _duplicates(entry: shards.FileRecord, *, folder: str) -> pa.Table:
    """The numbers of documents of a shard that are not canonical, by cluster."""
    table = shards.read_shard(folder, entry.name, columns=["cluster_id", "is_canonical"])
    duplicates = pl.DataFrame(table).filter(~pl.col("is_canonical"))
    numbers = duplicates.group_by("cluster_id").agg(num_duplicates=pl.len())
    return numbers.to_arrow().cast(_DUPLICATES)


def _largest(duplicates: pa.Table) -> pa.Table:
    """The largest clusters, each with the sum of its numbers."""
    sizes = pl.DataFrame(duplicates).group_by("cluster_id").agg(pl.sum("num_duplicates"))
    ordered = sizes.sort("num_duplicates", "cluster_id", descending=[True, False])
    return ordered.head(_MAX_ROWS).to_arrow().cast(_DUPLICATES)


def hits(folder: str, stats: Mapping[str, Any]) -> dict[str, str]:
    """The stats, and the first hits with their evidence. Memory: a shard of hits."""
    columns = ["problem_id", "method", "document_id", "evidence"]
    first_hits = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    entries = shards.records(folder, "hits")
    for table in shards.read_shards(folder, entries, columns=columns):
        first_hits = pl.concat([first_hits, pl.DataFrame(table)]).sort(columns).head(_MAX_ROWS)
    return {**counts(stats), "first_hits": markdown.table(columns, first_hits.rows())}


def funnel(folder: str, stats: Mapping[str, Any]) -> dict[str, str | Plot]:
    """Numbers of documents, of dropped ones by reason and of kept ones; a plot of kept lengths.

    Memory: the lengths of a shard.
    """
    total = max(1, stats["documents"])
    steps = ["documents", *(name for name in stats if name.startswith("dropped_")), "kept"]
    rows = [(name, stats[name], f"{stats[name] / total:.1%}") for name in steps]
    metadata: dict[str, str | Plot] = {
        **counts(stats),
        "funnel": markdown.table(["step", "documents", "share"], rows),
    }
    max_tokens, num_documents = _lengths(folder)
    if max_tokens is not None:
        top = max(1, max_tokens.bit_length())
        metadata["tokens_per_kept_document"] = _histogram(num_documents[:top])
    return metadata


def _lengths(folder: str) -> tuple[int | None, npt.NDArray[np.int64]]:
    """The most tokens of a kept document (None: none is kept), and the numbers of kept documents of
    2^power to below 2^(power + 1) tokens."""
    max_tokens: int | None = None
    num_documents = np.zeros(len(_POWERS_OF_TWO) - 1, dtype=np.int64)
    entries = shards.records(folder, "decisions")
    for table in shards.read_shards(folder, entries, columns=["num_tokens"]):
        lengths = table["num_tokens"].drop_null().to_numpy()
        if len(lengths):
            max_tokens = max(max_tokens or 0, int(lengths.max()))
            num_documents += np.histogram(lengths, bins=_POWERS_OF_TWO)[0]
    return max_tokens, num_documents


def _histogram(num_documents: npt.NDArray[np.int64]) -> Plot:
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    bins = _POWERS_OF_TWO[: len(num_documents) + 1]
    axes.hist(bins[:-1], bins=bins, weights=num_documents)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens")
    axes.set_ylabel("documents")
    return as_plot(figure, "Tokens per kept document")
