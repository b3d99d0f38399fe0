"""Clusters, decisions and splits are compared in partitions of ids, with the same findings."""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from snow_assets.curation import violations
from snow_assets.curation.split import split_shortfalls
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS, InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import (
    CONTAMINATION,
    DECISION,
    DUPLICATE_CLUSTER,
    DUPLICATE_PAIR,
)
from tests.artifacts import as_input, finish

Row = dict[str, Any]

SHARD_ROWS = 70
EXCHANGES = [IN_PROCESS, InProcessExchange(partition_bytes=2_000)]
MANY = EXCHANGES[1]


def named(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


IDS = [named(number) for number in range(600)]


def put(
    folder: str,
    table: str,
    rows: Sequence[Row],
    inputs: Sequence[str] = (),
    *,
    shard_rows: int = SHARD_ROWS,
    **config: Any,
) -> str:
    """A finished artifact of several shards; columns that the rows lack are null, zero or empty."""
    schema = {
        "clusters": DUPLICATE_CLUSTER,
        "pairs": DUPLICATE_PAIR,
        "hits": CONTAMINATION,
        "decisions": DECISION,
    }[table]
    empty = {
        field.name: "" if str(field.type) == "string" else 0
        for field in schema
        if not field.nullable
    }
    for index, start in enumerate(range(0, max(1, len(rows)), shard_rows)):
        part = [{**empty, **row} for row in rows[start : start + shard_rows]]
        shards.put_table(folder, table, index, part, schema)
    if not config:
        return finish(folder, inputs=inputs)
    asset, partition, fingerprint = folder.rsplit("/", 3)[1:]
    shards.finish(
        folder,
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe="SMOKE",
        config=config,
        inputs=[as_input(url) for url in inputs],
        stats={},
    )
    return folder


def test_the_second_executor_has_several_partitions() -> None:
    assert MANY.num_partitions(len(IDS) * 80) > 10


def clusters() -> dict[str, Row]:
    """Document -> its row: clusters of one to three documents, each with a text of its own."""
    rows = {}
    for start in range(0, len(IDS), 6):
        for first, size in ((0, 1), (1, 2), (3, 3)):
            members = IDS[start + first : start + first + size]
            for name in members:
                rows[name] = {
                    "document_id": name,
                    "text_id": named(name),
                    "cluster_id": members[0],
                    "is_canonical": name == members[0],
                }
    return rows


def put_clusters(lake: Path, rows: Mapping[str, Row]) -> str:
    """Clusters, whose verified pairs are all neighbours of a cluster, and pairs of others."""
    members: dict[str, list[str]] = {}
    for row in clusters().values():
        members.setdefault(row["cluster_id"], []).append(row["text_id"])
    pairs = [sorted(pair) for texts in members.values() for pair in itertools.pairwise(texts)]
    table = [{"text_id": one, "other_text_id": other, "jaccard": 0.9} for one, other in pairs]
    verified = put(f"{lake}/verified_pairs/all/0", "pairs", table)
    return put(f"{lake}/near_duplicates/all/0", "clusters", list(rows.values()), [verified])


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_clusters_of_one_canonical_document_each_have_no_violation(
    exchange: Exchange, tmp_path: Path
) -> None:
    folder = put_clusters(tmp_path, clusters())
    assert violations.validate_clusters(folder, exchange=exchange) == []


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_clusters_without_one_canonical_document_and_kept_copies_are_violations(
    exchange: Exchange, tmp_path: Path
) -> None:
    rows = clusters()
    lost = [IDS[0], IDS[60], IDS[301]]  # alone, alone, and with another document
    for name in lost:
        rows[name]["is_canonical"] = False
    doubled = {IDS[13]: IDS[14], IDS[205]: IDS[206]}  # the second documents of clusters
    for name in doubled.values():
        rows[name]["is_canonical"] = True
    thrice = [IDS[120], IDS[126], IDS[582]]  # alone
    for name in thrice:
        rows[name]["text_id"] = named("same")
    pairs = sorted(sorted(map(named, pair)) for pair in doubled.items())
    assert violations.validate_clusters(put_clusters(tmp_path, rows), exchange=exchange) == [
        *(f"cluster {name} has 2 canonical documents" for name in sorted(doubled)),
        *(f"cluster {name} has no canonical document" for name in sorted(lost)),
        f"text {named('same')} is kept 3 times",
        *(f"text {one} and its near duplicate {other} are both kept" for one, other in pairs),
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_of_many_violations_of_a_kind_the_first_by_id_are_named(
    exchange: Exchange, tmp_path: Path
) -> None:
    rows = clusters()
    for row in rows.values():
        row["is_canonical"] = False
    lost = sorted({row["cluster_id"] for row in rows.values()})[: violations.MAX_EXAMPLES]
    assert violations.validate_clusters(put_clusters(tmp_path, rows), exchange=exchange) == [
        f"cluster {name} has no canonical document" for name in lost
    ]


def decisions(language: str) -> dict[str, Row]:
    """Document -> its decision: a tenth is dropped and the last repositories are held out."""
    rows = {}
    for number in range(400):
        name = named((language, number))
        is_kept = number % 10 != 0
        rows[name] = {
            "document_id": name,
            "text_id": named((language, number, "text")),
            "cluster_id": name if number % 7 else None,
            "repository": f"{language}/{number // 20}",
            "path": f"{number}.py",
            "language": language,
            "kept": is_kept,
            "reason": None if is_kept else "too_long",
            "split": ("held_out" if number >= 300 else "train") if is_kept else None,
            "num_tokens": number if is_kept else None,
        }
    return rows


def put_decisions(lake: Path, language: str, rows: Mapping[str, Row], **config: Any) -> str:
    folder = f"{lake}/clean_corpus/{language}/0"
    hits = [f"{lake}/contamination/a/0"] if shards.exists(f"{lake}/contamination/a/0") else []
    return put(folder, "decisions", list(rows.values()), hits, **config)


def of(rows: Mapping[str, Row], **values: object) -> list[str]:
    """The ids of the rows with these values."""
    return [
        name
        for name, row in rows.items()
        if all(row[column] == value for column, value in values.items())
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_train_and_held_out_documents_of_all_languages_share_nothing(
    exchange: Exchange, tmp_path: Path
) -> None:
    folders = [put_decisions(tmp_path, name, decisions(name)) for name in ("c", "go")]
    assert violations.validate_split(folders, exchange=exchange) == []


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_train_documents_that_share_something_with_held_out_ones_are_violations(
    exchange: Exchange, tmp_path: Path
) -> None:
    rows = {name: decisions(name) for name in ("c", "go")}
    everything = rows["c"] | rows["go"]
    held_out = of(rows["go"], split="held_out")
    train = of(rows["c"], split="train") + of(rows["go"], split="train")
    text, cluster = held_out[10], held_out[21]
    for name in (copies := [train[3], train[-3]]):
        everything[name]["text_id"] = everything[text]["text_id"]
    everything[cluster]["cluster_id"] = cluster
    everything[train[50]]["cluster_id"] = cluster
    everything[held_out[40]]["repository"] = "c/3"  # in another language
    everything[of(everything, kept=False)[5]]["repository"] = "c/20"
    moved = of(everything, repository="c/3", split="train")
    assert len(moved) == 18
    folders = [put_decisions(tmp_path, name, rows[name]) for name in rows]
    assert violations.validate_split(folders, exchange=exchange) == [
        f"the train document {name} shares its {column} {value} with a held-out one"
        for column, names, value in (
            ("repository", moved, "c/3"),
            ("text_id", copies, everything[text]["text_id"]),
            ("cluster_id", [train[50]], cluster),
        )
        for name in sorted(names)
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_kept_documents_with_hits_are_violations_unless_they_are_exempt(
    exchange: Exchange, tmp_path: Path
) -> None:
    rows = decisions("c")
    kept, dropped = of(rows, kept=True), of(rows, kept=False)
    wrong, by_id, by_path = [*kept[4:9], kept[-1]], kept[100], kept[200]
    hits = [
        {"document_id": "x", "text_id": rows[name]["text_id"], "problem_id": problem}
        for problem in ("first", "last")
        for name in (*wrong, by_id, by_path, *dropped)
    ]
    unknown = {"document_id": "x", "text_id": named("unknown"), "problem_id": "last"}
    put(f"{tmp_path}/contamination/a/0", "hits", [*hits, unknown])
    location = f"{rows[by_path]['repository']}/{rows[by_path]['path']}"
    exemptions = [{"document": name, "reason": "reviewed"} for name in (by_id, location)]
    folder = put_decisions(tmp_path, "c", rows, contamination_exemptions=exemptions)
    assert violations.validate_contamination([folder], exchange=exchange) == [
        f"document {name} is kept and quotes last" for name in sorted(wrong)
    ]


def test_hits_are_found_in_a_large_shard_without_exemptions(tmp_path: Path) -> None:
    rows = [
        {"document_id": named(number), "text_id": named(number), "kept": True, "split": "train"}
        for number in range(30_000)
    ]
    hit = {"document_id": "x", "text_id": named(7), "problem_id": "last"}
    hits = put(f"{tmp_path}/contamination/a/0", "hits", [hit])
    folder = put(f"{tmp_path}/clean_corpus/c/0", "decisions", rows, [hits], shard_rows=len(rows))
    assert violations.validate_contamination([folder]) == [
        f"document {named(7)} is kept and quotes last"
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_decisions_that_contradict_themselves_are_counted_over_all_shards(
    exchange: Exchange, tmp_path: Path
) -> None:
    rows = decisions("c")
    kept, dropped = of(rows, kept=True), of(rows, kept=False)
    edits: list[tuple[Sequence[str], Callable[[Row], None]]] = [
        (kept[::50], lambda row: row.update(reason="too_long")),
        (dropped[:3], lambda row: row.update(reason=None)),
        (dropped[-5:], lambda row: row.update(split="train")),
        (kept[1:3], lambda row: row.update(num_tokens=None)),
    ]
    for names, edit in edits:
        for name in names:
            edit(rows[name])
    folder = put_decisions(tmp_path, "c", rows)
    num_reasons = len(kept[::50]) + 3
    assert violations.validate_decision_counts([folder], exchange=exchange) == [
        "c: 0 documents, 400 decisions",
        f"c: reason contradicts kept in {num_reasons} rows",
        "c: split contradicts kept in 5 rows",
        "c: num_tokens contradicts kept in 2 rows",
    ]


def test_the_bytes_of_repositories_are_those_of_all_shards(tmp_path: Path) -> None:
    rows = decisions("c")
    for number, name in enumerate(rows):
        rows[name] |= {"num_bytes": 1_000 + number, "repository": f"c/{number % 20}"}
    kept = [row for row in rows.values() if row["kept"]]
    total, largest, held_out = (
        sum(row["num_bytes"] for row in kept if applies(row))
        for applies in (
            lambda row: True,
            lambda row: row["repository"] == "c/19",
            lambda row: row["split"] == "held_out",
        )
    )
    folder = put_decisions(tmp_path, "c", rows)
    (shortfall,) = split_shortfalls([folder], share=0.01, tolerance=0.1)
    assert f"c: {held_out / total:.2%} of the bytes" in shortfall
    num_repositories = len({row["repository"] for row in kept})
    assert f"{num_repositories} repositories do not divide so, the largest, c/19, is" in shortfall
    assert f"is {largest / total:.0%}; add" in shortfall
    assert split_shortfalls([folder], share=held_out / total, tolerance=0.0) == []
