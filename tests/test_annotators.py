"""A further annotator is a value of the recipe, and its stages follow it."""

from pathlib import Path
from typing import Any

import pytest

from snow_assets.defs.graph import STAGES, stage_of
from tests.code_location import loaded


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return loaded("TWO_ANNOTATORS", tmp_path_factory.mktemp("home"))


def test_a_further_annotator_that_selects_comes_before_the_subset(tmp_path: Path) -> None:
    graph = loaded("SELECTED_BY_ANOTHER", tmp_path)
    assert graph["parents"]["high_quality_subset"] == [
        "clean_corpus",
        "short_windows_quality_annotator",
        "short_windows_quality_scores",
    ]
    steps = [tuple(step[:2]) for step in graph["steps"]]
    scored = steps.index(("short_windows_quality_scores", "python"))
    assert scored < steps.index(("high_quality_subset", "c"))


def test_a_further_annotator_has_stages_of_its_own_and_selects_nothing(graph: Any) -> None:
    parents = graph["parents"]
    name = "short_windows_quality"
    assert parents[f"{name}_scores"] == ["clean_corpus", f"{name}_annotator"]
    assert parents[f"{name}_annotator"] == [
        "benchmark_problems",
        "short_windows_annotator_examples",
    ]
    assert parents["high_quality_subset"] == ["clean_corpus", "quality_annotator", "quality_scores"]
    assert f"{name}_scores" in parents["score_history"]
    assert f"{name}_annotator" in parents["annotator_gates"]


def test_it_is_planned_by_language_after_what_the_recipe_trains(graph: Any) -> None:
    steps = [tuple(step[:2]) for step in graph["steps"]]
    assert steps[-2:] == [
        ("short_windows_quality_scores", "c"),
        ("short_windows_quality_scores", "python"),
    ]
    assert not [step for step in steps if step[0] == "graded_texts"]  # it learns no grades


def test_stages_of_other_recipes_annotators_are_known_by_their_names() -> None:
    assert not [stage for stage in STAGES if stage.name.startswith("unknown_")]
    for name in ("annotator_examples", "quality_annotator", "quality_scores"):
        stage = stage_of(f"unknown_{name}")
        assert stage is not None
        assert stage.name == f"unknown_{name}"
    scores = stage_of("unknown_quality_scores")
    assert scores is not None
    assert scores.keeps_history
    assert stage_of("unknown") is None
