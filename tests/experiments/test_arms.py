"""An arm is the recipe with other values, and a seed."""

from dataclasses import replace

import pytest

from snow_assets.experiments.arms import arm_recipe, arm_run, arm_runs
from snow_assets.recipe import ARCTIC, SMOKE
from snow_assets.recipe.experiments import Arm, Change, Comparison, change_field
from snow_assets.recipe.paper_claims import PAPER_CLAIMS
from snow_assets.stages import Partitions, as_json, partition_names


def test_every_arm_of_a_recipe_is_a_valid_recipe() -> None:
    recipes = [arm_recipe(SMOKE, run) for run in arm_runs(SMOKE)]
    assert len({recipe.name for recipe in recipes}) == 6 * 5
    assert len({str(as_json(replace(recipe, name="x"))) for recipe in recipes}) == 6 * 5


def test_an_arm_has_the_changes_of_the_experiment_the_seed_and_its_own() -> None:
    recipe = arm_recipe(SMOKE, arm_run(SMOKE, "paper_claims-random_x1-3"))
    assert recipe.name == "SMOKE-paper_claims-random_x1-3"
    assert (recipe.selection.ranking, recipe.selection.repeats) == ("random", (1,))
    assert recipe.selection.budget_tokens == recipe.pretraining.phase("continued").tokens == 98_304
    assert recipe.pretraining.seed == recipe.annotator.seed == recipe.selection.ranking_seed == 3
    assert (recipe.corpus, recipe.curation) == (SMOKE.corpus, SMOKE.curation)


def test_the_control_is_another_draw_of_the_same_arm() -> None:
    first, second = (
        arm_recipe(SMOKE, arm_run(SMOKE, f"paper_claims-{name}-3"))
        for name in ("random_x1", "random_x1_again")
    )
    assert (first.selection.ranking_seed, second.selection.ranking_seed) == (3, 1_003)
    redrawn = replace(second.selection, ranking_seed=3)
    assert replace(second, name=first.name, selection=redrawn) == first


def test_partitions_are_arms_with_seeds() -> None:
    names = partition_names(Partitions.ARM_SEEDS, SMOKE)
    assert names[:2] == ("paper_claims-random_x1-0", "paper_claims-random_x1-1")
    assert partition_names(Partitions.EXPERIMENTS, SMOKE) == ("paper_claims",)
    assert partition_names(Partitions.ARM_SEEDS, ARCTIC) == ()


def test_an_unknown_arm_or_field_is_named() -> None:
    with pytest.raises(ValueError, match=r"paper_claims-none-0 is no arm and seed"):
        arm_run(SMOKE, "paper_claims-none-0")
    with pytest.raises(ValueError, match=r"no field 'rank' in SelectionRecipe: \["):
        change_field(SMOKE, "selection.rank", "random")
    with pytest.raises(ValueError, match=r"no 'second' among \['general', 'continued'"):
        change_field(SMOKE, "pretraining.phases.second.tokens", 1)
    with pytest.raises(ValueError, match="ranking"):
        change_field(SMOKE, "selection.ranking", "best")


def test_an_experiment_that_cannot_be_decided_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no arm nothing, only \['random_x1'"):
        replace(PAPER_CLAIMS, control=Comparison(arm="nothing", baseline="random_x1"))
    with pytest.raises(ValueError, match="two arms have one name"):
        replace(PAPER_CLAIMS, arms=(Arm(name="a", changes=()), Arm(name="a", changes=())))
    with pytest.raises(ValueError, match="decided by MBPP, and the recipe's benchmarks are"):
        replace(SMOKE, experiments=(replace(PAPER_CLAIMS, benchmark="MBPP"),))
    with pytest.raises(ValueError, match="no pretraining phase annealing"):
        replace(SMOKE, experiments=(replace(PAPER_CLAIMS, phase="annealing"),))
    with pytest.raises(ValueError, match="field"):
        Change(field="selection", value=1)
