import hashlib
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from snow_assets.quality.ranking import (
    RANKABLE,
    RankedLanguage,
    put_ranking,
    rank_keys,
    rank_language,
)
from snow_assets.quality.selection import LanguageGates, allocate_budget, language_budget
from snow_assets.recipe import SMOKE, SelectionRecipe
from snow_assets.runtime.exchange.in_process import InProcessExchange
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION
from snow_assets.storage.schemas.quality import SCORE, SELECTION
from tests.artifacts import finish

RECIPE = replace(SMOKE.selection, percentiles=(0.0,), repeats=(4,), max_repeats=4)
SCORED = SELECTION.names[:6]


def documents(*rows: tuple[str, int, float]) -> pl.DataFrame:
    """(text_id, tokens, logit)."""
    made = [
        {
            "document_id": f"d{name}",
            "text_id": name,
            "repository": "r",
            "license": "MIT",
            "num_tokens": tokens,
            "logit": logit,
        }
        for name, tokens, logit in rows
    ]
    return pl.DataFrame(made, schema=pl.DataFrame(SELECTION.empty_table().select(SCORED)).schema)


@dataclass(frozen=True)
class Ranking:
    """What was written, in order, and its totals."""

    documents: pl.DataFrame
    totals: RankedLanguage
    shard_rows: list[int | None]


def as_it_is(table: pa.Table) -> pa.Table:
    return table


def rank(
    table: pl.DataFrame,
    language_tokens: dict[str, int],
    recipe: SelectionRecipe,
    *,
    language: str = "x",
    num_partitions: int = 1,
) -> Ranking:
    """Rank scored documents, in as many shards and partitions."""
    exchange = InProcessExchange()
    rows = table.to_arrow()
    rows = rows.append_column("rank_key", pa.array(rank_keys(rows, recipe))).cast(RANKABLE)
    keys = np.sort(rows["rank_key"].to_numpy())
    boundaries = keys[len(keys) * np.arange(1, num_partitions) // num_partitions]
    step = max(1, -(-rows.num_rows // num_partitions))
    inputs = [rows.slice(start, step) for start in range(0, max(1, rows.num_rows), step)]
    with tempfile.TemporaryDirectory() as folder:
        totals = put_ranking(
            folder,
            "documents",
            exchange.map_shards(as_it_is, inputs, schema=RANKABLE),
            boundaries,
            budget=language_budget(language, language_tokens, recipe),
            exchange=exchange,
        )
        ranked = pl.DataFrame(shards.read_unfinished(folder, "documents"))
        shard_rows = [record.num_rows for record in shards.records(folder, "documents")]
    return Ranking(ranked, totals, shard_rows)


def chosen(table: pl.DataFrame, *, num_partitions: int = 1, **numbers: Any) -> Ranking:
    tokens = table["num_tokens"].sum()
    recipe = replace(RECIPE, **numbers)
    return rank(table, {"x": tokens}, recipe, num_partitions=num_partitions)


def repeats(found: Ranking) -> dict[str, int]:
    names = ("text_id", "repeats")
    return dict(zip(*(found.documents[name].to_list() for name in names), strict=True))


TEN = documents(*((f"t{place}", 10, float(place)) for place in range(10)))


def test_the_best_are_taken_until_the_budget_is_full() -> None:
    found = chosen(TEN, budget_tokens=80)
    assert repeats(found) == {f"t{place}": 4 if place >= 8 else 0 for place in range(10)}
    assert (
        found.totals.selected_tokens,
        found.totals.unique_tokens,
        found.totals.missing_tokens,
    ) == (80, 20, 0)


def test_the_last_document_is_repeated_just_often_enough() -> None:
    found = chosen(TEN, budget_tokens=65)
    assert {name: times for name, times in repeats(found).items() if times} == {"t9": 4, "t8": 3}
    assert found.totals.selected_tokens == 70, "above the budget by less than a document"


def test_a_percentile_is_the_share_of_tokens_that_rank_below() -> None:
    table = documents(("small", 1, 3.0), ("huge", 97, 2.0), ("last", 2, 1.0))
    found = chosen(table, budget_tokens=1).documents
    assert found["text_id"].to_list() == ["small", "huge", "last"]
    assert found["percentile"].to_list() == pytest.approx([0.99, 0.02, 0.0])


def test_a_curve_of_percentiles_says_how_often() -> None:
    numbers = {"percentiles": (0.5, 0.8), "repeats": (1, 3), "fill": "percentile"}
    found = chosen(TEN, budget_tokens=10, **numbers)
    assert [repeats(found)[f"t{place}"] for place in range(10)] == [0] * 5 + [1] * 3 + [3] * 2
    assert found.totals.selected_tokens == 90, "whatever the budget"


def test_the_budget_fills_along_a_curve_too() -> None:
    found = chosen(TEN, budget_tokens=70, percentiles=(0.0, 0.8), repeats=(1, 3))
    assert [repeats(found)[f"t{place}"] for place in range(10)] == [0] * 7 + [1] + [3] * 2


def test_equal_logits_are_ordered_by_text_id_wherever_they_stand() -> None:
    rows = [(name, 10, 1.0) for name in ("c", "a", "d", "b")]
    for order in (rows, rows[::-1]):
        found = chosen(documents(*order), budget_tokens=80)
        assert {name for name, times in repeats(found).items() if times} == {"a", "b"}


def test_a_budget_is_shared_by_tokens_to_the_last_one() -> None:
    assert allocate_budget({"a": 700, "b": 200, "c": 100}, budget_tokens=50) == {
        "a": 35,
        "b": 10,
        "c": 5,
    }
    shares = allocate_budget({"a": 1, "b": 1, "c": 1}, budget_tokens=100)
    assert sum(shares.values()) == 100
    assert shares == {"a": 34, "b": 33, "c": 33}


def test_each_language_gets_its_share() -> None:
    tokens = {"x": 100, "y": 300}
    recipe = replace(RECIPE, budget_tokens=160)
    found = rank(TEN, tokens, recipe)
    assert (found.totals.budget_tokens, found.totals.selected_tokens) == (40, 40)


def test_a_budget_that_no_language_can_meet_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"budget_tokens 401 cannot .* are 400; .*raise its rep"):
        chosen(TEN, budget_tokens=401)


def test_a_language_that_runs_out_is_taken_whole_and_says_what_lacks() -> None:
    # The steps of a coarse language give less than their mean over the percentiles.
    table = documents(("a", 50, 2.0), ("b", 50, 1.0))
    found = chosen(table, budget_tokens=120, percentiles=(0.0, 0.6), repeats=(1, 2))
    assert repeats(found) == {"a": 1, "b": 1}
    assert (found.totals.selected_tokens, found.totals.missing_tokens) == (100, 20)


def test_a_language_without_documents_selects_nothing() -> None:
    recipe = replace(RECIPE, budget_tokens=10)
    tokens = {"x": 0, "y": 100}
    found = rank(documents(), tokens, recipe)
    assert (found.documents.height, found.totals.budget_tokens, found.totals.missing_tokens) == (
        0,
        0,
        0,
    )


class ThreePartitions(InProcessExchange):
    """A Ray cluster has as many partitions as cores, of however few rows."""

    def num_partitions(self, num_bytes: int) -> int:
        return 3


def test_a_document_without_a_finite_score_is_refused(lake_url: str) -> None:
    clean, scores = (f"{lake_url}/{name}/x/0" for name in ("clean_corpus", "quality_scores"))
    text_id = hashlib.sha256(b"text").hexdigest()
    names = ("document_id", "raw_id", "text_id", "cluster_id")
    document = {field.name: "x" for field in DECISION if field.type == pa.string()}
    document |= {**dict.fromkeys(names, text_id), "split": "train", "reason": None}
    document |= {"kept": True, "num_tokens": 1, "num_bytes": 1}
    score = {"text_id": text_id, "annotator": "1", "num_windows": 1, "top_logit": 0.0}
    shards.put_table(clean, "decisions", 0, [document], DECISION)
    shards.put_table(scores, "scores", 0, [{**score, "logit": float("nan")}], SCORE)
    with pytest.raises(ValueError, match=rf"no finite score in .*, {text_id} for one: materialize"):
        rank_language(
            f"{lake_url}/high_quality_subset/x/0",
            "documents",
            clean_folder=finish(clean),
            scores_folder=finish(scores),
            budget=language_budget("x", {"x": 1}, replace(RECIPE, budget_tokens=1)),
            exchange=InProcessExchange(),
        )


@pytest.mark.parametrize("num_parts", [0, 1])
def test_a_language_without_documents_has_an_empty_ranking_of_any_partitions(
    lake_url: str, num_parts: int
) -> None:
    clean, scores = (f"{lake_url}/{name}/x/0" for name in ("clean_corpus", "quality_scores"))
    for part in range(num_parts):
        shards.put_table(clean, "decisions", part, [], DECISION)
        shards.put_table(scores, "scores", part, [], SCORE)
    budget = language_budget("x", {"x": 0, "y": 100}, replace(RECIPE, budget_tokens=10))
    output = f"{lake_url}/high_quality_subset/x/0"
    totals = rank_language(
        output,
        "documents",
        clean_folder=finish(clean),
        scores_folder=finish(scores),
        budget=budget,
        exchange=ThreePartitions(),
    )
    assert (totals.documents, totals.least_selected_logit) == (0, None)
    assert shards.read_unfinished(output, "documents").schema == SELECTION


def test_a_language_that_the_annotator_may_not_select_in_leaves_its_budget_to_the_others() -> None:
    gates = LanguageGates(
        annotator="a", failures={"x": [], "y": ["held_out of y AUC 0.4"]}, ungated=frozenset()
    )
    tokens = gates.selected_tokens({"x": 100, "y": 300})
    assert tokens == {"x": 100}
    recipe = replace(RECIPE, budget_tokens=80)
    of_x = rank(TEN, tokens, recipe)
    assert of_x.totals.budget_tokens == of_x.totals.selected_tokens == 80
    of_y = rank(TEN, tokens, recipe, language="y")
    assert (of_y.totals.budget_tokens, of_y.totals.selected_tokens) == (0, 0)
    by_percentile = replace(recipe, fill="percentile")
    of_y = rank(TEN, tokens, by_percentile, language="y")
    assert set(repeats(of_y).values()) == {0}


def test_the_recipe_can_select_a_language_whose_gates_failed() -> None:
    failures = {"x": [], "y": ["held_out of y AUC 0.4"], "z": ["no positive in z"]}
    gates = LanguageGates(annotator="a", failures=failures, ungated=frozenset({"y"}))
    assert gates.selected_tokens({"x": 1, "y": 2, "z": 3}) == {"x": 1, "y": 2}


def test_an_annotator_that_may_select_in_no_language_is_refused_with_the_reasons() -> None:
    failures = {"x": ["held_out of x AUC 0.4"], "y": ["no positive in y"]}
    gates = LanguageGates(annotator="abc", failures=failures, ungated=frozenset())
    with pytest.raises(ValueError, match=r"abc selects in no language: held_out of x.*in y\. Add"):
        gates.selected_tokens({"x": 1, "y": 2})


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(ValueError, match="no language has a kept train document"):
        allocate_budget({"x": 0}, budget_tokens=1)


@pytest.mark.parametrize("ranking", ["quality", "lowest_quality", "random"])
@pytest.mark.parametrize("fill", ["budget", "percentile"])
def test_the_number_of_partitions_changes_nothing(ranking: str, fill: str) -> None:
    """Logits of both signs, many of them equal, and both zeros."""
    numbers = np.random.default_rng(0)
    logits = np.round(numbers.normal(size=500), 1) * numbers.choice([1.0, -1.0], size=500)
    assert np.signbit(logits[logits == 0]).any() and (~np.signbit(logits[logits == 0])).any()
    table = hashed(500).with_columns(
        logit=pl.Series(logits, dtype=pl.Float32),
        num_tokens=pl.Series(numbers.integers(1, 90, size=500)),
    )
    fields = {
        "ranking": ranking,
        "fill": fill,
        "percentiles": (0.3, 0.8),
        "repeats": (1, 3),
        "budget_tokens": 9_000,
    }
    one = chosen(table, **fields)
    assert 0 < one.totals.selected_documents < 500
    if ranking != "random":
        signs = 1 if ranking == "lowest_quality" else -1
        assert (signs * one.documents["logit"]).is_sorted()
    for num_partitions in (2, 7, 40):
        many = chosen(table, num_partitions=num_partitions, **fields)
        assert many.documents.equals(one.documents)
        assert many.totals == one.totals


def test_a_ranking_of_many_rows_is_written_in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snow_assets.quality.ranking._SHARD_ROWS", 3)
    found = chosen(TEN, budget_tokens=80, num_partitions=4)
    assert found.documents["text_id"].to_list() == [f"t{place}" for place in reversed(range(10))]
    assert found.shard_rows == [3, 3, 3, 1]


def hashed(count: int) -> pl.DataFrame:
    """Documents of 10 tokens; a text's id is a digest, and its logit its number."""
    return documents(
        *(
            (hashlib.sha256(str(number).encode()).hexdigest(), 10, float(number))
            for number in range(count)
        )
    )


def selected(table: pl.DataFrame, **fields: Any) -> set[str]:
    return {name for name, times in repeats(chosen(table, **fields)).items() if times}


def test_the_lowest_ranking_selects_from_the_other_end() -> None:
    best = selected(TEN, ranking="quality", budget_tokens=80)
    worst = selected(TEN, ranking="lowest_quality", budget_tokens=80)
    assert (best, worst) == ({"t8", "t9"}, {"t0", "t1"})


def test_a_random_ranking_depends_on_seed_and_text_alone() -> None:
    table = hashed(400)
    fields = {"ranking": "random", "budget_tokens": 800}
    first = selected(table, ranking_seed=1, **fields)
    assert selected(table.reverse(), ranking_seed=1, **fields) == first
    rescored = table.with_columns(logit=-pl.col("logit"))
    assert selected(rescored, ranking_seed=1, **fields) == first
    second = selected(table, ranking_seed=2, **fields)
    # 20 of 400 at random: two draws share one document on average.
    assert len(first) == len(second) == 20
    assert len(first & second) <= 6


def test_a_random_ranking_is_independent_of_quality() -> None:
    table = hashed(2_000)
    ranked = chosen(table, ranking="random", budget_tokens=800).documents
    correlation = ranked.select(pl.corr("logit", "percentile")).item()
    assert abs(correlation) < 0.1  # 4.5 standard errors
