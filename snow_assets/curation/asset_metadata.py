"""Asset metadata for Dagster: Markdown tables, a plot of document lengths."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from snow_assets import markdown
from snow_assets.plots import Plot, as_plot, new_figure
from snow_assets.storage import shards

_MAX_ROWS = 20


def counts(stats: Mapping[str, Any]) -> dict[str, str]:
    return {"counts": markdown.table(["what", "number"], list(stats.items()))}


def clusters(folder: str, stats: Mapping[str, Any]) -> dict[str, str]:
    """The stats, and the largest clusters."""
    sizes = _rows(folder, "clusters", ["cluster_id"]).group_by("cluster_id").len()
    ordered = sizes.filter(pl.col("len") > 1).sort("len", "cluster_id", descending=[True, False])
    largest = markdown.table(["canonical document", "documents"], ordered.head(_MAX_ROWS).rows())
    return {**counts(stats), "largest_clusters": largest}


def hits(folder: str, stats: Mapping[str, Any]) -> dict[str, str]:
    """The stats, and the first hits with their evidence."""
    columns = ["problem_id", "method", "document_id", "evidence"]
    first_hits = _rows(folder, "hits", columns).sort(columns).head(_MAX_ROWS)
    return {**counts(stats), "first_hits": markdown.table(columns, first_hits.rows())}


def funnel(folder: str, stats: Mapping[str, Any]) -> dict[str, str | Plot]:
    """Numbers of documents, of dropped ones by reason and of kept ones; a plot of kept lengths."""
    total = max(1, stats["documents"])
    steps = ["documents", *(name for name in stats if name.startswith("dropped_")), "kept"]
    rows = [(name, stats[name], f"{stats[name] / total:.1%}") for name in steps]
    lengths = _rows(folder, "decisions", ["num_tokens"])["num_tokens"].drop_nulls()
    metadata: dict[str, str | Plot] = {
        **counts(stats),
        "funnel": markdown.table(["step", "documents", "share"], rows),
    }
    if len(lengths):
        metadata["tokens_per_kept_document"] = _histogram(lengths)
    return metadata


def _rows(folder: str, table: str, columns: Sequence[str]) -> pl.DataFrame:
    """Columns of a table without text of an unfinished artifact, which may have no shard of it."""
    if not shards.records(folder, table):
        return pl.DataFrame(schema=list(columns))
    return pl.DataFrame(shards.read_unfinished(folder, table, columns=columns))


def _histogram(lengths: pl.Series) -> Plot:
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    top = max(1, math.ceil(math.log2(max(lengths) + 1)))
    axes.hist(lengths, bins=[2**power for power in range(top + 1)])
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens")
    axes.set_ylabel("documents")
    return as_plot(figure, "Tokens per kept document")
