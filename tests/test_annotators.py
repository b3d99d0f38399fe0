"""A further annotator is a value of the recipe, and its stages follow it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snow_assets.defs.graph import STAGES, stage_of
from snow_assets.home import CHECKOUT

_SHOW = """
import json
import dagster as dg
from snow_assets import definitions
from snow_assets.defs.graph import RECIPE_STAGES
from snow_assets.planning.plan import plan
from snow_assets.recipe import chosen_recipe

graph = definitions.defs.resolve_asset_graph()
recipe = chosen_recipe()
resources = definitions.resources(recipe)
resources.pop("warehouse")
planned = plan(RECIPE_STAGES, resources["lake"], recipe, resources)
print(json.dumps({
    "parents": {key.path[0]: sorted(parent.path[0] for parent in graph.get(key).parent_keys)
                for key in graph.get_all_asset_keys()},
    "steps": [[step.asset, step.partition] for step in planned.steps],
}))
"""


def shown(recipe: str, home: Path) -> Any:
    """What a code location with a recipe holds."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SHOW],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "SNOW_RECIPE": f"tests.recipes:{recipe}",
            "SNOW_HOME": str(home),
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return shown("TWO_ANNOTATORS", tmp_path_factory.mktemp("home"))


def test_a_further_annotator_that_selects_comes_before_the_subset(tmp_path: Path) -> None:
    graph = shown("SELECTED_BY_ANOTHER", tmp_path)
    assert graph["parents"]["high_quality_subset"] == [
        "clean_corpus",
        "short_windows_quality_annotator",
        "short_windows_quality_scores",
    ]
    steps = [tuple(step) for step in graph["steps"]]
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
    assert f"{name}_scores" in parents["annotator_pairs"]
    assert f"{name}_annotator" in parents["annotator_gates"]


def test_it_is_planned_by_language_after_what_the_recipe_trains(graph: Any) -> None:
    steps = [tuple(step) for step in graph["steps"]]
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
