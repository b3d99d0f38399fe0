"""Scores and selection are compared with the kept texts in partitions, with the same findings."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.pretraining.sources import high_quality_sources
from snow_assets.quality.scores import validate_scores
from snow_assets.quality.selection import selected_totals, validate_selection
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS, InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION
from snow_assets.storage.schemas.quality import SCORE, SELECTION
from tests.artifacts import finish

IDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(600)]
DROPPED, HELD_OUT, KEPT = IDS[:20], IDS[20:50], IDS[50:]
TOKENS = {name: 1 + number % 90 for number, name in enumerate(IDS)}
SHARD_ROWS = 70
EXCHANGES = [IN_PROCESS, InProcessExchange(partition_bytes=4_000)]
MANY = EXCHANGES[1]


def put(folder: str, table: str, schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> str:
    """A finished artifact of several shards; columns that the rows lack are null, zero or empty."""
    empty = {
        field.name: "" if field.type == pa.string() else 0 for field in schema if not field.nullable
    }
    rows = [{**empty, **row} for row in rows]
    for index, start in enumerate(range(0, max(1, len(rows)), SHARD_ROWS)):
        shards.put_table(folder, table, index, rows[start : start + SHARD_ROWS], schema)
    finish(folder)
    return folder


@pytest.fixture
def clean(tmp_path: Path) -> str:
    rows = [
        {
            "document_id": name,
            "text_id": name,
            "kept": name not in DROPPED,
            "split": "held_out" if name in HELD_OUT else "train",
            "num_tokens": TOKENS[name],
        }
        for name in IDS
    ]
    return put(f"{tmp_path}/clean_corpus/python/0", "decisions", DECISION, rows)


def put_scores(lake: Path, text_ids: Sequence[str], logit: float = 0.5) -> str:
    rows = [{"text_id": name, "annotator": "a", "logit": 0.25} for name in text_ids]
    rows[-1]["logit"] = logit
    return put(f"{lake}/quality_scores/python/0", "scores", SCORE, rows)


def put_subset(lake: Path, repeats: dict[str, int]) -> str:
    rows = [
        {"document_id": name, "text_id": name, "num_tokens": TOKENS[name], "repeats": times}
        for name, times in repeats.items()
    ]
    return put(f"{lake}/high_quality_subset/python/0", "documents", SELECTION, rows)


def test_the_second_executor_has_several_partitions() -> None:
    assert MANY.num_partitions(len(IDS) * 80) > 10


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_scores_of_exactly_the_kept_training_texts_have_no_violation(
    exchange: Exchange, clean: str, tmp_path: Path
) -> None:
    scores = put_scores(tmp_path, KEPT[::-1])
    assert validate_scores(clean, scores, exchange=exchange) == []


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_texts_scored_twice_texts_of_one_side_and_logits_that_are_no_numbers_are_counted(
    exchange: Exchange, clean: str, tmp_path: Path
) -> None:
    unknown = [hashlib.sha256(name.encode()).hexdigest() for name in ("x", "y")]
    scored = [*KEPT[40:], *KEPT[100:103], HELD_OUT[0], *unknown, unknown[0], KEPT[50]]
    scores = put_scores(tmp_path, scored, logit=float("nan"))
    differing = {*KEPT[:40], HELD_OUT[0], *unknown}
    assert validate_scores(clean, scores, exchange=exchange) == [
        f"5 texts of {scores} have two scores",
        f"{len(differing)} texts of {clean} differ from the scored: {min(differing)}",
        f"{scores} has logits that are no numbers",
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_selection_of_kept_training_documents_has_no_violation_and_its_tokens_by_repeats(
    exchange: Exchange, clean: str, tmp_path: Path
) -> None:
    repeats = {name: number % 4 for number, name in enumerate(KEPT)} | dict.fromkeys(HELD_OUT, 0)
    subset = put_subset(tmp_path, repeats)
    assert validate_selection(clean, subset, max_repeats=3, exchange=exchange) == []
    (source,) = high_quality_sources([clean], [subset], max_passes=3, exchange=exchange)
    assert source.pass_tokens == [
        sum(TOKENS[name] + 1 for name, times in repeats.items() if times > index)
        for index in range(3)
    ]
    assert source.num_documents == sum(times > 0 for times in repeats.values())
    rows = [row for shard in source.shards for row in shard(["document_id"]).to_pylist()]
    assert [(row["document_id"], row["passes"]) for row in rows] == [
        (name, times) for name, times in repeats.items() if times
    ], "in the order of the corpus"


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_selected_documents_that_are_dropped_or_held_out_and_repeats_above_the_cap_are_violations(
    exchange: Exchange, clean: str, tmp_path: Path
) -> None:
    wrong = [*DROPPED[3:9], *HELD_OUT[4:7]]
    subset = put_subset(tmp_path, dict.fromkeys(KEPT, 2) | dict.fromkeys(wrong, 1) | {KEPT[7]: 5})
    assert validate_selection(clean, subset, max_repeats=4, exchange=exchange) == [
        f"9 selected documents are not trainable: {min(wrong)}",
        f"a document of {subset} is repeated 5 times, over 4",
    ]
    totals = selected_totals(clean, subset, exchange=exchange)
    assert totals.num_documents == {1: 9, 2: len(KEPT) - 1, 5: 1}
    with pytest.raises(ValueError, match=f"selects 9 documents that .*, {min(wrong)} for one"):
        high_quality_sources([clean], [subset], max_passes=5, exchange=exchange)
