"""Comparisons: noise is undecided, an effect is found, and seeds count as much as texts."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from snow_assets.experiments import comparisons
from snow_assets.recipe.paper_claims import PAPER_CLAIMS

SEEDS = PAPER_CLAIMS.seeds
NUM_TEXTS = 80
NAMES = [arm.name for arm in PAPER_CLAIMS.arms]
Effect = Callable[[str, int, np.random.Generator], np.ndarray]


def arm_texts(effect: Effect, *, draw: int = 0) -> dict[tuple[str, int], pl.DataFrame]:
    """Texts of every arm and seed: their own difficulty, and the arm's effect in bits per byte."""
    generator = np.random.default_rng(draw)
    sizes = generator.integers(50, 400, NUM_TEXTS)
    difficulty = generator.normal(2.5, 0.5, NUM_TEXTS)
    return {
        (name, seed): pl.DataFrame(
            {
                "sample_id": [f"HumanEval/{number}" for number in range(NUM_TEXTS)],
                "num_bytes": sizes,
                "nats": (difficulty + effect(name, seed, generator)) * sizes * np.log(2),
            }
        )
        for name in NAMES
        for seed in SEEDS
    }


def by_arm(
    texts: dict[tuple[str, int], pl.DataFrame],
) -> dict[tuple[str, str], comparisons.Decision]:
    decisions = comparisons.decide(PAPER_CLAIMS, texts)
    return {
        (entry.difference.comparison.arm, entry.difference.comparison.baseline): entry
        for entry in decisions
    }


def noise(_name: str, _seed: int, generator: np.random.Generator) -> np.ndarray:
    """Of a seed (0.02) and of a text (0.1), independent between arms."""
    return generator.normal(0, 0.02) + generator.normal(0, 0.1, NUM_TEXTS)


def test_an_effect_is_found_in_the_right_direction() -> None:
    def effect(name: str, seed: int, generator: np.random.Generator) -> np.ndarray:
        shift = {"selected_x1": -0.2, "lowest_x1": 0.2}.get(name, 0.0)
        return shift + noise(name, seed, generator)

    decided = by_arm(arm_texts(effect))
    assert decided["random_x1_again", "random_x1"].outcome == "undecided"
    assert decided["selected_x1", "random_x1"].outcome == "better"
    assert decided["lowest_x1", "random_x1"].outcome == "worse"
    found = decided["selected_x1", "random_x1"].difference
    assert found.low < -0.2 < found.high
    assert (len(found.seed_differences), found.num_texts) == (len(SEEDS), NUM_TEXTS)


def test_noise_alone_is_rarely_decided() -> None:
    outcomes = [
        entry.outcome
        for draw in range(40)
        for entry in by_arm(arm_texts(noise, draw=draw)).values()
    ]
    # 240 comparisons without an effect; at 5 % an interval excludes zero in 12.
    assert sum(outcome != "undecided" for outcome in outcomes) <= 12


def test_one_lucky_seed_decides_nothing() -> None:
    """All texts agree within a seed, so texts alone would be sure; the seeds disagree."""

    def effect(name: str, seed: int, _: np.random.Generator) -> np.ndarray:
        lucky = name == "selected_x1" and seed == 0
        return np.full(NUM_TEXTS, -0.5 if lucky else 0.0)

    decided = by_arm(arm_texts(effect))["selected_x1", "random_x1"]
    assert decided.difference.value == pytest.approx(-0.1)
    assert decided.outcome == "undecided"


def test_an_effect_below_the_control_s_noise_is_undecided() -> None:
    def effect(name: str, _seed: int, _: np.random.Generator) -> np.ndarray:
        return np.full(NUM_TEXTS, {"random_x1_again": 0.05, "selected_x1": -0.04}.get(name, 0.0))

    decided = by_arm(arm_texts(effect))
    assert decided["selected_x1", "random_x1"].difference.high < 0
    assert decided["selected_x1", "random_x1"].outcome == "undecided"
    assert decided["selected_x1", "random_x1"].noise == pytest.approx(0.05)


def test_an_effect_too_small_to_matter_is_undecided() -> None:
    def effect(name: str, _seed: int, _: np.random.Generator) -> np.ndarray:
        return np.full(NUM_TEXTS, -0.009 if name == "selected_x1" else 0.0)

    assert by_arm(arm_texts(effect))["selected_x1", "random_x1"].outcome == "undecided"


def test_arms_that_scored_other_texts_are_refused() -> None:
    texts = arm_texts(noise)
    texts["selected_x1", 2] = texts["selected_x1", 2].head(NUM_TEXTS - 1)
    with pytest.raises(ValueError, match="selected_x1 with seed 2 scored 79 texts, others 80"):
        comparisons.decide(PAPER_CLAIMS, texts)
