"""Several recipes in one home: every table holds the rows of each, and none changes another's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snow_assets.storage.schemas.evaluation import RESULT
from snow_assets.storage.schemas.pretraining import SEEN
from snow_resources.warehouse import query
from tests.tables.builders import (
    a_whole_lake,
    put_checkpoints,
    put_corpus,
    put_curation,
    put_quality,
    seen,
)
from tests.tables.conftest import Publication, publication
from tests.tables.lake import RECIPE, TinyLake, row_of

Ask = Callable[[str], list[Any]]
SECOND = "SECOND"


def put_second(url: str) -> TinyLake:
    """A recipe that shares the first one's artifacts, but for the results of a checkpoint; and with
    a fourth phase, which follows the second one."""
    lake = TinyLake(url=url, recipe=SECOND)
    for step in (put_corpus, put_curation, put_quality, put_checkpoints):
        step(lake)
    results = [
        row_of(
            RESULT,
            checkpoint="general",
            benchmark="held_out",
            value=1.25,
            metric="bits_per_byte",
            subset="python",
            num_samples=3,
        )
    ]
    tables = {"results": (RESULT, results)}
    lake.put("benchmark_results", tables, partition="general", fingerprint="2")
    lake.put(
        "annealing_checkpoint",
        {"seen": (SEEN, [seen("good", num_tokens=7)])},
        inputs=[("continued_checkpoint", "all")],
    )
    return lake


@pytest.fixture(scope="module")
def both(tables_folder: Path) -> Publication:
    """A lake in which two recipes have artifacts, published by the first."""
    url = str(tables_folder / "lake-of-two")
    first = a_whole_lake(url)
    put_second(url)
    published = publication(tables_folder, "both", first)
    assert published.materialize().success
    return published


def ask_of(published: Publication) -> Ask:
    return lambda sql: query(published.warehouse.path, sql).rows


def test_every_table_has_a_recipe_and_shows_both(both: Publication) -> None:
    ask = ask_of(both)
    tables = [name for (name,) in ask("select table_name from information_schema.tables")]
    assert len(tables) > 25
    without = [
        name
        for name in tables
        if ("recipe",) not in ask(f"select column_name from (describe {name})")
    ]
    assert without == []
    empty = {"redactions", "pending_documents", "label_agreement"}
    empty |= {"annotator_pairs"}  # of further annotators
    empty |= {
        "annotator_correlations",
        "arm_annotators",
        "arm_results",
        "arm_comparisons",
        "comparison_evidence",
    }  # of experiments, and none was run
    empty |= {"annotator_drift"}  # the former scores are the recipe's that made them
    for name in set(tables) - empty:
        found = {recipe for (recipe,) in ask(f"select distinct recipe from {name}")}
        assert found == {RECIPE, SECOND}, name


def test_the_scoreboard_shows_each_recipes_own_results(both: Publication) -> None:
    rows = ask_of(both)(
        "select recipe, checkpoint, value from checkpoint_scoreboard order by recipe, checkpoint"
    )
    assert rows == [
        (SECOND, "enhanced_checkpoint", 2.5),
        (SECOND, "general_checkpoint", 1.25),
        (RECIPE, "enhanced_checkpoint", 2.5),
        (RECIPE, "general_checkpoint", 2.5),
    ]


def test_a_phase_that_one_recipe_has_stands_in_every_table_of_checkpoints(
    both: Publication,
) -> None:
    ask = ask_of(both)
    assert ask(
        "select recipe, phase, num_tokens::int from checkpoint_sources "
        "where checkpoint = 'annealing_checkpoint' order by num_tokens"
    ) == [(SECOND, "annealing", 7), (SECOND, "general", 100), (SECOND, "continued", 200)]
    assert ask(
        "select stage, stage_order, num_tokens, share_of_tokens from license_mix "
        f"where recipe = '{SECOND}' and stage_order > 5 order by stage_order, stage"
    ) == [
        ("general_checkpoint", 6, 100, 1.0),
        ("continued_checkpoint", 7, 200, 1.0),
        ("annealing_checkpoint", 8, 7, 1.0),
        ("enhanced_checkpoint", 8, 30, 1.0),
    ]


def test_a_recipes_rows_are_the_same_beside_another(both: Publication, whole: Publication) -> None:
    ask, ask_alone = ask_of(both), ask_of(whole)
    tables = [name for (name,) in ask("select table_name from information_schema.tables")]
    for name in sorted(set(tables) - {"publication"}):  # its digest names all that was read
        sql = f"select * from {name} where recipe = '{RECIPE}' order by all"
        assert ask(sql) == ask_alone(sql), name
