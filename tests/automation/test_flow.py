"""From a home that does not exist: first ingest, a new source, an opt-out, a new annotator.

Every step goes through the daemon's evaluation of the location's sensor `automation`; nobody helps.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from snow_assets.storage import shards
from snow_resources.warehouse import query
from tests.automation.conftest import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PARTITIONS = {
    "raw_code_corpus": ["amber", "birch"],
    "documents": ["amber", "birch"],
    "signatures": ["amber", "birch"],
    "contamination": ["amber", "birch"],
    "candidate_pairs": ["all"],
    "verified_pairs": ["all"],
    "near_duplicates": ["all"],
    "held_out_repositories": ["all"],
    "tokenizer": ["all"],
    "clean_corpus": ["python"],
    "dataset_exports": ["python"],
    "annotator_examples": ["all"],
    "quality_scores": ["python"],
    "high_quality_subset": ["python"],
    "high_quality_dataset": ["python"],
}
NEVER_UNASKED = {
    "teacher_model",
    "synthetic_completions",
    "synthetic_set",
    "synthetic_dataset",
    "general_packs",
    "continued_packs",
    "enhanced_packs",
    "general_checkpoint",
    "continued_checkpoint",
    "enhanced_checkpoint",
    "benchmark_results",
}


def assets(ticks: list[dict[str, Any]]) -> set[str]:
    """The assets of all runs, which all succeeded; after them a tick that started none."""
    *with_runs, last = ticks
    assert all(tick["runs"] for tick in with_runs)
    runs = [run for tick in with_runs for run in tick["runs"]]
    assert {run["status"] for run in runs} <= {"SUCCESS"}, ticks
    assert last["status"] == "SKIPPED", last
    assert last["reason"].startswith("all that automation runs is up to date with recipe FLOW;")
    names = {asset for run in runs for asset in run["assets"]}
    assert not names & NEVER_UNASKED
    return names


def scoring(world: World) -> dict[str, Any]:
    return shards.manifest(world.current("quality_scores", "python")).stats


def documents_of(world: World, repository: str) -> dict[str, int]:
    """Asset -> rows of a repository in the artifacts that the recipe's pointers name."""
    tables = {
        ("raw_code_corpus", "amber"): "files",
        ("raw_code_corpus", "birch"): "files",
        ("documents", "amber"): "documents",
        ("documents", "birch"): "documents",
        ("high_quality_subset", "python"): "documents",
    }
    return {
        f"{asset}/{partition}": shards.read(world.current(asset, partition), table)["repository"]
        .to_pylist()
        .count(repository)
        for (asset, partition), table in tables.items()
    }


def test_new_data_an_opt_out_and_an_annotator_flow_to_the_tables_by_themselves(
    world: World, tmp_path: Path
) -> None:
    # 1. First ingest: everything up to the tables, the first annotator included.
    first = assets(world.ticks("ONE"))
    assert {*PARTITIONS, "opt_outs", "quality_annotator", "document_quality"} <= first
    before = scoring(world)
    assert before["num_scored"] == before["num_texts"] > 0

    # 2. A source more: its texts alone are scored, and all is as a full run makes it.
    grown = assets(world.ticks("TWO"))
    assert "quality_annotator" not in grown
    after = scoring(world)
    assert after["num_reused"] == before["num_texts"]
    assert 0 < after["num_scored"] == after["num_texts"] - before["num_texts"]
    full = World(world.code, tmp_path / "home")
    adopt_annotator(world, full)
    assets(full.ticks("TWO"))
    for asset, partitions in PARTITIONS.items():
        for name in partitions:
            assert full.digest(asset, name) == world.digest(asset, name), (asset, name)

    # 3. An opt-out: the source that holds it is read again, and nothing live holds it then.
    birch = world.current("raw_code_corpus", "birch")
    assert documents_of(world, "amber-3")["raw_code_corpus/amber"] == 4
    texts = texts_of(world, "amber-3")
    opt_outs = world.code / "opt_outs.txt"
    opt_outs.write_text("https://git.example.org/someone/elsewhere\nAmber_3  # asked today\n")
    left_out = world.ticks("TWO")
    assert "quality_annotator" not in assets(left_out)
    assert world.current("raw_code_corpus", "birch") == birch, "birch does not hold it"
    assert set(documents_of(world, "amber-3").values()) == {0}
    scored = shards.read(world.current("quality_scores", "python"), "scores")["text_id"]
    assert not texts & set(scored.to_pylist())
    rows = query(
        world.home / "warehouse.duckdb",
        "select distinct reason from document_quality where repository = 'amber-3'",
    ).rows
    assert rows == [("opted_out",)], "a row says that the repository was left out"

    # 4. A person trains another annotator: every text is scored again.
    assets(world.ticks("RETRAINED", "quality_annotator"))
    renewed = scoring(world)
    assert renewed["num_scored"] == renewed["num_texts"]
    assert renewed["annotator"] != after["annotator"]


def texts_of(world: World, repository: str) -> set[str]:
    rows = shards.read(world.current("documents", "amber"), "documents").to_pylist()
    return {row["text_id"] for row in rows if row["repository"] == repository}


def adopt_annotator(world: World, other: World) -> None:
    """Another home begins with this one's annotator, whose training nobody repeats."""
    for path in ("quality_annotator", "current/FLOW/quality_annotator"):
        shutil.copytree(f"{world.lake}/{path}", f"{other.lake}/{path}")


def test_what_cannot_go_on_is_said_and_the_sensor_goes_on_once_it_can(world: World) -> None:
    opt_outs = world.code / "opt_outs.txt"
    content = opt_outs.read_text()
    opt_outs.write_text(f"{content}please remove everything\n")
    (tick,) = world.ticks("RETRAINED")
    assert tick["status"] == "SKIPPED"
    assert "line 3: 'please remove everything' names no repository" in tick["reason"]
    opt_outs.write_text(content)
    (tick,) = world.ticks("RETRAINED")
    assert tick["reason"].startswith("all that automation runs is up to date with recipe FLOW;")
