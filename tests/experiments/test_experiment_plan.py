"""The plan of an experiment counts what arms share once, and prices what each arm adds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from snow_assets.cli.experiment_plan import show
from snow_assets.planning.experiment_plan import ExperimentPlan, plan_experiment
from snow_assets.planning.plan_steps import Step
from snow_assets.recipe import Recipe
from snow_assets.recipe.experiments import Arm, Change, change_field
from snow_resources.lake import Lake
from tests.recipes import EXPERIMENT


def planned(recipe: Recipe, lake_url: str) -> ExperimentPlan:
    lake = Lake(url=lake_url)
    resources: dict[str, Any] = {"lake": lake, "recipe": recipe, "jobs": None, "teacher": None}
    return plan_experiment(lake, recipe, "claim", resources)


def with_arm(arm: Arm) -> Recipe:
    """EXPERIMENT with one more arm."""
    (experiment,) = EXPERIMENT.experiments
    changed = replace(experiment, arms=(*experiment.arms, arm))
    return replace(EXPERIMENT, experiments=(changed,))


def count(steps: Sequence[Step]) -> Counter[str]:
    return Counter(step.asset for step in steps)


def test_what_arms_share_is_planned_once(lake_url: str) -> None:
    plan = planned(EXPERIMENT, lake_url)
    assert "clean_corpus" in count(plan.corpus)
    assert count(plan.shared) == {
        "annotator_examples": 1,
        "quality_annotator": 2,  # the stated labels, and the shuffled ones
        "quality_scores": 4,  # two languages each
        "general_packs": 1,
        "general_checkpoint": 2,  # seeds
    }
    assert [(arm.arm, arm.seed) for arm in plan.arms] == [
        (name, seed)
        for name in ("random", "random_again", "selected", "shuffled", "untrained")
        for seed in (0, 1)
    ]
    for arm in plan.arms:
        # Without a corpus the budgets are unknown, so arms' subsets count as their own.
        assert count(arm.steps) == {
            "high_quality_subset": 2,
            "continued_packs": 1,
            "continued_checkpoint": 1,
            "experiment_arms": 1,
        }


def test_each_arm_costs_its_own_training_and_measurement(lake_url: str) -> None:
    recipe = change_field(EXPERIMENT, "operation.machine_hour_price", 3_600.0)
    plan = planned(recipe, lake_url)
    cost = {step.asset: step.cost for step in plan.arms[0].steps}
    training, measuring = cost["continued_checkpoint"], cost["experiment_arms"]
    assert training is not None
    assert measuring is not None
    general = next(step.cost for step in plan.shared if step.asset == "general_checkpoint")
    assert general is not None
    assert general.seconds == pytest.approx(2 * training.seconds)  # twice the tokens
    assert measuring.seconds > 0
    assert training.price == pytest.approx(training.seconds)


def test_an_arm_without_the_last_phase_is_another_arm_s_earlier_checkpoint(lake_url: str) -> None:
    plan = planned(
        with_arm(Arm(name="general_alone", changes=(), dropped_phases=("continued",))), lake_url
    )
    (alone, _) = (arm for arm in plan.arms if arm.arm == "general_alone")
    assert count(alone.steps) == {"experiment_arms": 1}  # the others' general checkpoint


def test_an_arm_with_another_threshold_plans_its_own_corpus(lake_url: str) -> None:
    change = Change(field="curation.filters.min_alphabetic_fraction", value=0.5)
    plan = planned(with_arm(Arm(name="strict", changes=(change,))), lake_url)
    strict = [arm for arm in plan.arms if arm.arm == "strict"]
    own = count(plan.shared) - count(planned(EXPERIMENT, lake_url).shared)
    assert own["clean_corpus"] == 2  # languages, for both seeds
    assert all(count(arm.steps)["continued_checkpoint"] == 1 for arm in strict)


def test_an_unknown_experiment_is_named(lake_url: str) -> None:
    lake = Lake(url=lake_url)
    with pytest.raises(ValueError, match=r"EXPERIMENT has no experiment 'none', only \['claim'\]"):
        plan_experiment(lake, EXPERIMENT, "none", {})


def test_the_screen_shows_shared_steps_a_line_per_arm_and_seed_and_the_sum(lake_url: str) -> None:
    console = Console(width=150, record=True)
    show(console, planned(EXPERIMENT, lake_url))
    text = console.export_text()
    assert "general_checkpoint [2]" in text
    assert "random_again, seed 1" in text
    assert "high_quality_subset [2], continued_packs, continued_checkpoint" in text
    assert "has to be materialized first" in text
