"""The recipe's page in Dagster shows every value, and is nothing that a run materializes."""

from dataclasses import replace

import dagster as dg
import pytest

from snow_assets.cli.demo import recipe_steps
from snow_assets.definitions import defs
from snow_assets.defs.recipe_page import ASSET, leaves, markdown
from snow_assets.recipe import ARCTIC, SMOKE, Recipe


@pytest.mark.parametrize("recipe", [SMOKE, ARCTIC], ids=lambda recipe: recipe.name)
def test_every_value_of_the_recipe_is_on_its_page(recipe: Recipe) -> None:
    page = markdown(recipe)
    assert f"**{recipe.name}**" in page
    assert f"| `budget_tokens` | {recipe.selection.budget_tokens:,} |" in page
    assert "| `pretraining.memory_gib` |" in page
    assert f"| `sources[{recipe.corpus.sources[0].name}].kind` |" in page
    num_rows = sum(
        len(list(leaves(getattr(recipe, name))))
        for name in (
            "corpus",
            "exemplars",
            "curation",
            "annotator",
            "selection",
            "synthesis",
            "acceptance",
            "pretraining",
            "evaluation",
            "operation",
        )
    )
    assert page.count("\n| `") == num_rows > 120


def test_a_value_cannot_end_its_cell() -> None:
    annotator = replace(SMOKE.annotator, encoder="models/a|b<script>")
    page = markdown(replace(SMOKE, annotator=annotator))
    assert "models/a\\|b&lt;script>" in page


def test_the_page_is_in_the_graph_and_no_step_of_it() -> None:
    graph = defs.resolve_asset_graph()
    key = dg.AssetKey(ASSET)
    assert SMOKE.name in (graph.get(key).description or "")
    assert not graph.get(key).is_executable
    assert all(key not in keys for keys, _ in recipe_steps(SMOKE))
