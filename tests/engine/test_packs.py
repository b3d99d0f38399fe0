"""Packs and their leak gate on a Ray cluster: the files of one process, also under faults."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.pretraining import leaks
from snow_assets.pretraining.leaks import SharedGate, search_packs
from snow_assets.pretraining.sequences import TOKENS
from snow_assets.pretraining.sources import LanguageSource, ReadShard, clean_sources
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.runtime.exchange.ray_cluster import RayExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.curation.builders import a_problem
from tests.engine.conftest import NODE, started
from tests.engine.faults import KillingExchange
from tests.pretraining.builders import (
    CONTEXT,
    PACKING,
    PHASE,
    SOLUTION,
    a_document,
    a_text,
    a_tokenizer,
    finish,
    put_clean_corpus,
    put_packs,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_REPOSITORIES = 20
NUM_SHARDS = 5
REPEATED = {
    "fill_in_the_middle_rate": 0.5,
    "repository_tokens": True,
    "bucket_tokens": 3_000,
    "shard_sequences": 24,
}
LEAKING = "python/11/leak.py"


def of_shard(read_shard: ReadShard, columns: Sequence[str], *, index: int) -> pa.Table:
    """The documents whose repositories' numbers have this remainder."""
    table = read_shard(["repository", *(name for name in columns if name != "repository")])
    numbers = [int(name.split("/")[1]) for name in table["repository"].to_pylist()]
    own = table.filter(pa.array([number % NUM_SHARDS == index for number in numbers]))
    return own.select([*columns, "passes"])


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[LanguageSource]:
    """Two languages in several shards, one document with a benchmark's solution."""
    documents = [
        a_document(
            language,
            f"{language}/{repository}",
            f"{path}.x",
            a_text(f"{language}_{repository}_{path}", lines=2 + path),
        )
        for language in ("c", "python")
        for repository in range(NUM_REPOSITORIES)
        for path in range(6)
    ]
    documents.append(a_document("python", "python/11", "leak.py", f"def f(words):\n{SOLUTION}"))
    clean = put_clean_corpus(str(tmp_path_factory.mktemp("corpus")), documents)
    return [
        replace(
            source,
            shards=[partial(of_shard, *source.shards, index=index) for index in range(NUM_SHARDS)],
        )
        for source in clean_sources(clean, max_passes=3)
    ]


def digest(lake: Path, sources: list[LanguageSource], exchange: Exchange, **packing: Any) -> str:
    """Of packs that were searched for the problem."""
    tokens = int(0.8 * sum(sum(source.pass_tokens) for source in sources))
    phase = replace(PHASE, tokens=tokens // CONTEXT * CONTEXT, global_batch_size=1)
    packs = put_packs(
        str(lake),
        sources,
        phase=phase,
        packing=replace(PACKING, **{**REPEATED, **packing}),
        exchange=exchange,
    )
    shards.remove(shards.join(packs, shards.MANIFEST))
    problem = a_problem(solution=SOLUTION, prompt="def most_frequent(words):\n")
    hits = search_packs(
        packs,
        a_tokenizer(),
        SharedGate(pa.Table.from_pylist([problem], schema=BENCHMARK_PROBLEM), 32),
        searched_for="a solution",
        exempt=frozenset(),
        exchange=exchange,
    )
    assert {hit.document_id for hit in hits} == {LEAKING}
    assert len(shards.records(packs, TOKENS)) == len(shards.records(packs, leaks.LEAKS)) > 10
    return finish(packs).digest


@pytest.fixture(scope="module")
def expected(sources: list[LanguageSource], tmp_path_factory: pytest.TempPathFactory) -> str:
    """In this process, with a bucket for each pass."""
    lake = tmp_path_factory.mktemp("lake")
    return digest(lake, sources, InProcessExchange(), bucket_tokens=1_000_000)


def test_two_nodes_write_the_files_of_one_process(
    sources: list[LanguageSource], expected: str, connected: Any, tmp_path: Path
) -> None:
    assert digest(tmp_path / "few", sources, RayExchange(), bucket_tokens=1_000_000) == expected
    assert digest(tmp_path / "many", sources, RayExchange(), bucket_tokens=500) == expected


def test_killed_workers_and_a_lost_node_change_no_file(
    sources: list[LanguageSource], expected: str, connected: Any, tmp_path: Path
) -> None:
    """A worker of each function, and a node with packed buckets that are not written yet."""
    import ray

    names = ("_range_tokens", "_documents", "_pack_bucket", "put_shards", "_search_shard")
    (killed := tmp_path / "killed").mkdir()
    assert digest(tmp_path / "1", sources, KillingExchange(names=names, folder=killed)) == expected
    assert sorted(path.name for path in killed.iterdir()) == sorted(names)

    (node,) = connected.worker_nodes
    (lost := tmp_path / "lost").mkdir()
    losing = KillingExchange(names=["put_shards"], folder=lost, node=node.node_id)
    assert digest(tmp_path / "2", sources, losing) == expected
    assert len(list(lost.iterdir())) == 1
    assert sum(entry["Alive"] for entry in ray.nodes()) == 1
    connected.remove_node(node, allow_graceful=False)
    started(lambda: connected.add_node(**NODE))
