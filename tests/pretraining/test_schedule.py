"""Step -> learning rate."""

from dataclasses import replace

import pytest

from snow_assets.pretraining.schedule import learning_rate
from snow_assets.recipe import ARCTIC, SMOKE, PhaseRecipe

PHASES = [phase for recipe in (SMOKE, ARCTIC) for phase in recipe.pretraining.phases]


def rates(recipe: PhaseRecipe, steps: int = 1_000) -> list[float]:
    return [learning_rate(step, steps=steps, recipe=recipe) for step in range(steps + 1)]


@pytest.mark.parametrize("recipe", PHASES)
def test_it_rises_from_zero_to_the_peak_and_falls_to_exactly_its_final_rate(
    recipe: PhaseRecipe,
) -> None:
    found = rates(recipe)
    top = found.index(max(found))
    assert found[0] == 0
    assert found[top] == recipe.peak_learning_rate
    assert top == round(recipe.warmup_fraction * 1_000)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert found[-1] == recipe.final_learning_rate


def test_linear_is_halfway_in_the_middle_and_cosine_is_above_before_and_below_after() -> None:
    linear = replace(SMOKE.pretraining.phase("continued"), warmup_fraction=0.0)
    cosine = replace(linear, schedule="cosine")
    assert rates(linear)[500] == pytest.approx(linear.peak_learning_rate / 2)
    assert rates(cosine)[250] > rates(linear)[250]
    assert rates(cosine)[750] < rates(linear)[750]


def test_the_paper_s_general_phase_warms_up_for_600_steps() -> None:
    recipe = ARCTIC.pretraining.phase("general")
    steps = 119_209
    assert learning_rate(600, steps=steps, recipe=recipe) == 5.3e-4
    assert learning_rate(300, steps=steps, recipe=recipe) == pytest.approx(2.65e-4)
    assert learning_rate(steps, steps=steps, recipe=recipe) == 5.3e-5


def test_a_step_outside_of_the_phase_is_refused() -> None:
    with pytest.raises(ValueError, match="step 11 is outside of this phase's 10 steps"):
        learning_rate(11, steps=10, recipe=PHASES[0])
