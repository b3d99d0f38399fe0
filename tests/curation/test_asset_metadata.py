"""Figures and plots of tables are made shard by shard, and equal to those of a whole table."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets import markdown
from snow_assets.curation import asset_metadata
from snow_assets.plots import Plot, as_plot, new_figure
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS, InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import CONTAMINATION, DECISION, DUPLICATE_CLUSTER

IDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(1_500)]
SIZES = [40, 40, 90, *[3] * 30, *[7] * 12, *[2] * 200]
SHARD_ROWS = 110
MANY = InProcessExchange(partition_bytes=2_000)


def cluster_of_each_document() -> dict[str, str]:
    """Document -> canonical document, with the documents of a cluster all over the corpus."""
    documents = iter(sorted(IDS))
    clusters = [[next(documents) for _ in range(size)] for size in SIZES]
    cluster_ids = {name: members[0] for members in clusters for name in members}
    return {name: cluster_ids.get(name, name) for name in IDS}


def put(folder: str, table: str, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    """Shards of an unfinished artifact."""
    empty = {
        field.name: "" if field.type == pa.string() else 0 for field in schema if not field.nullable
    }
    for index, start in enumerate(range(0, len(rows), SHARD_ROWS)):
        part = [{**empty, **row} for row in rows[start : start + SHARD_ROWS]]
        shards.put_table(folder, table, index, part, schema)


@pytest.mark.parametrize("exchange", [IN_PROCESS, MANY])
def test_the_largest_clusters_are_those_of_a_count_of_all_documents(
    exchange: Exchange, tmp_path: Path
) -> None:
    cluster_ids = cluster_of_each_document()
    rows = [
        {
            "document_id": name,
            "text_id": name,
            "cluster_id": cluster_id,
            "is_canonical": name == cluster_id,
        }
        for name, cluster_id in cluster_ids.items()
    ]
    folder = f"{tmp_path}/near_duplicates/all/0"
    put(folder, "clusters", rows, DUPLICATE_CLUSTER)
    stats = {"documents": len(rows), "canonical": len(set(cluster_ids.values()))}
    sizes = sorted(Counter(cluster_ids.values()).items(), key=lambda item: (-item[1], item[0]))
    assert asset_metadata.clusters(folder, stats, exchange=exchange) == {
        **asset_metadata.counts(stats),
        "largest_clusters": markdown.table(["canonical document", "documents"], sizes[:20]),
    }


def test_the_second_executor_has_several_partitions() -> None:
    assert MANY.num_partitions((sum(SIZES) - len(SIZES)) * 80) > 10


@pytest.mark.parametrize("exchange", [IN_PROCESS, MANY])
def test_clusters_of_one_document_and_tables_without_shards_have_no_largest_cluster(
    exchange: Exchange, tmp_path: Path
) -> None:
    folder = f"{tmp_path}/near_duplicates/all/0"
    empty = markdown.table(["canonical document", "documents"], [])
    stats = {"documents": 0, "canonical": 0}
    assert asset_metadata.clusters(folder, stats, exchange=exchange)["largest_clusters"] == empty
    row = dict.fromkeys(("document_id", "text_id", "cluster_id"), IDS[0])
    table = [{**row, "is_canonical": True}]
    shards.put_table(folder, "clusters", 0, table, DUPLICATE_CLUSTER)
    stats = {"documents": 1, "canonical": 1}
    assert asset_metadata.clusters(folder, stats, exchange=exchange)["largest_clusters"] == empty


def test_the_first_hits_are_those_of_all_shards(tmp_path: Path) -> None:
    folder = f"{tmp_path}/contamination/a/0"
    rows = [
        {
            "problem_id": f"Task/{number % 40}",
            "method": ("ngram", "substring")[number % 3 % 2],
            "document_id": name,
            "evidence": f"words {number}",
        }
        for number, name in enumerate(IDS[:400])
    ]
    columns = ["problem_id", "method", "document_id", "evidence"]
    empty = markdown.table(columns, [])
    assert asset_metadata.hits(folder, {})["first_hits"] == empty
    put(folder, "hits", rows, CONTAMINATION)
    first = sorted(tuple(row[name] for name in columns) for row in rows)[:20]
    assert asset_metadata.hits(folder, {})["first_hits"] == markdown.table(columns, first)


def plot_of(lengths: Sequence[int], num_bins: int) -> Plot:
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    axes.hist(lengths, bins=[2**power for power in range(num_bins + 1)])
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens")
    axes.set_ylabel("documents")
    return as_plot(figure, "Tokens per kept document")


@pytest.mark.parametrize(("longest", "num_bins"), [(4_095, 12), (4_096, 13), (1, 1), (0, 1)])
def test_the_plot_of_kept_lengths_is_that_of_all_shards(
    longest: int, num_bins: int, tmp_path: Path
) -> None:
    chance = random.Random(0)
    folder = f"{tmp_path}/clean_corpus/python/0"
    lengths = [int(longest * chance.random() ** 3) for _ in range(500)] + [longest]
    rows = [{"kept": True, "num_tokens": length} for length in lengths]
    put(folder, "decisions", [*rows[:30], *[{"kept": False}] * 300, *rows[30:]], DECISION)
    stats = {"documents": len(rows) + 300, "kept": len(rows)}
    metadata = asset_metadata.funnel(folder, stats)
    assert metadata["tokens_per_kept_document"] == plot_of(lengths, num_bins)


def test_a_language_of_which_nothing_is_kept_has_no_plot(tmp_path: Path) -> None:
    folder = f"{tmp_path}/clean_corpus/python/0"
    stats = {"documents": 3, "kept": 0}
    put(folder, "decisions", [{"kept": False}] * 3, DECISION)
    assert "tokens_per_kept_document" not in asset_metadata.funnel(folder, stats)
