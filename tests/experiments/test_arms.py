"""An arm is the recipe with other values, and a seed."""

from dataclasses import replace

import pytest

from snow_assets.defs.experiments import arm_stages
from snow_assets.experiments.arms import arm_phase, arm_recipe, arm_run, arm_runs
from snow_assets.recipe import ARCTIC, ARCTIC_7B, ARCTIC_13B, ARCTIC_SIZES, SMOKE, Recipe
from snow_assets.recipe.experiments import Arm, Change, Comparison, change_field, kept_phases
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


def dropping(*phases: str) -> Recipe:
    """SMOKE with an arm that leaves out phases."""
    arms = (*PAPER_CLAIMS.arms, Arm(name="without", changes=(), dropped_phases=phases))
    return replace(SMOKE, experiments=(replace(PAPER_CLAIMS, phase="enhanced", arms=arms),))


def test_an_arm_without_a_phase_trains_the_remaining_chain() -> None:
    recipe = dropping("continued")
    run = arm_run(recipe, "paper_claims-without-0")
    phases = arm_recipe(recipe, run).pretraining.phases
    assert [(phase.name, phase.parent) for phase in phases] == [
        ("general", None),
        ("enhanced", "general"),
    ]
    assert arm_phase(recipe, run) == "enhanced"
    stages = arm_stages(arm_recipe(recipe, run), "enhanced")
    assert "continued_checkpoint" not in [made.name for made in stages]
    assert "general_checkpoint" in [read.stage.name for read in stages[-1].inputs]


def test_an_arm_without_the_measured_phase_is_measured_before_it() -> None:
    recipe = dropping("enhanced")
    assert arm_phase(recipe, arm_run(recipe, "paper_claims-without-0")) == "continued"
    assert arm_phase(recipe, arm_run(recipe, "paper_claims-random_x1-0")) == "enhanced"


def test_a_chain_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no phase annealing to drop, only \['general'"):
        dropping("annealing")
    with pytest.raises(ValueError, match="no phase up to enhanced is kept"):
        dropping("general", "continued", "enhanced")
    phases = (*SMOKE.pretraining.phases[:2], replace(SMOKE.pretraining.phases[2], parent="general"))
    with pytest.raises(ValueError, match="enhanced would start from random weights, as continued"):
        kept_phases(phases, ("general",))


def test_an_arm_s_packs_are_of_its_own_data() -> None:
    """With and without synthetic files: the stages read what the arm's phase names."""
    recipe = change_field(SMOKE, "pretraining.phases.enhanced.data", ("high_quality",))
    inputs = {
        recipe_of.name: {
            read.stage.name
            for made in arm_stages(recipe_of, "enhanced")
            if made.name == "enhanced_packs"
            for read in made.inputs
        }
        for recipe_of in (replace(recipe, name="without"), SMOKE)
    }
    assert "synthetic_set" in inputs["SMOKE"]
    assert "synthetic_set" not in inputs["without"]


def test_the_sizes_are_arms_with_the_models_and_gpus_of_their_recipes() -> None:
    for name, sized in (("1b", ARCTIC), ("7b", ARCTIC_7B), ("13b", ARCTIC_13B)):
        recipe = arm_recipe(ARCTIC_SIZES, arm_run(ARCTIC_SIZES, f"model_sizes-llama_{name}-0"))
        assert recipe.pretraining.model == sized.pretraining.model
        assert recipe.pretraining.phases == kept_phases(sized.pretraining.phases, ())
        assert recipe.operation == sized.operation
        assert (recipe.corpus, recipe.selection) == (ARCTIC.corpus, ARCTIC.selection)
