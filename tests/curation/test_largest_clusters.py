"""The largest clusters are counted in partitions of ids, with the figures of a whole count."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from snow_assets import markdown
from snow_assets.curation import asset_metadata
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS, InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DUPLICATE_CLUSTER

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
    for index, start in enumerate(range(0, len(rows), SHARD_ROWS)):
        table = rows[start : start + SHARD_ROWS]
        shards.put_table(folder, "clusters", index, table, DUPLICATE_CLUSTER)
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
