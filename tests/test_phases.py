"""The pretraining phases are a list of the recipe, and everything else follows it."""

from dataclasses import replace
from typing import Any

import pytest

from snow_assets.recipe import SMOKE
from tests.code_location import loaded
from tests.recipes import FOUR_PHASES


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a code location with a recipe of four phases holds."""
    return loaded("FOUR_PHASES", tmp_path_factory.mktemp("home"))


def test_a_fourth_phase_has_packs_and_a_checkpoint_that_starts_from_its_parent(graph: Any) -> None:
    assert graph["parents"]["annealing_packs"] == [
        "benchmark_problems",
        "clean_corpus",
        "high_quality_subset",
        "synthetic_set",
        "tokenizer",
    ]
    assert "continued_checkpoint" in graph["parents"]["annealing_checkpoint"]
    assert "enhanced_checkpoint" not in graph["parents"]["annealing_checkpoint"]


def test_a_fourth_phase_is_checked_evaluated_and_planned(graph: Any) -> None:
    checks = [name for asset, name in graph["checks"] if asset == "annealing_packs"]
    assert sorted(checks) == ["nothing_is_held_out", "packs_are_exact"]
    assert ["annealing_checkpoint", "loss_fell"] in graph["checks"]
    assert graph["checkpoints"] == [phase.name for phase in FOUR_PHASES.pretraining.phases]
    assert "annealing_checkpoint" in graph["parents"]["benchmark_results"]
    assert ["annealing_packs", "all", "redo"] in graph["steps"]
    assert ["benchmark_results", "annealing", "redo"] in graph["steps"]
    assert graph["tokens"]["annealing_checkpoint"] == FOUR_PHASES.pretraining.phases[-1].tokens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "general"}, "two phases are named general"),
        ({"parent": "later"}, "the parent later is no earlier phase; those are .'general', 'cont"),
        ({"data": ("clean", "synthetic")}, "phase annealing: all clean text .* no other data"),
        ({"name": "with-dash"}, "PhaseRecipe.name is 'with-dash'"),
        ({"data": ()}, "PhaseRecipe.data is ()"),
    ],
)
def test_a_phase_that_cannot_be_trained_is_refused(change: dict[str, Any], message: str) -> None:
    pretraining = FOUR_PHASES.pretraining
    with pytest.raises(ValueError, match=message):
        replace(
            pretraining,
            phases=(*pretraining.phases[:-1], replace(pretraining.phases[-1], **change)),
        )


def test_an_unknown_phase_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no pretraining phase last: it has general, continued, e"):
        SMOKE.pretraining.phase("last")


def test_the_subset_s_budget_covers_every_phase_on_it_alone() -> None:
    phases = [
        replace(phase, data=("high_quality",), tokens=1_024_000)
        for phase in SMOKE.pretraining.phases
    ]
    with pytest.raises(ValueError, match="1024000 that the general phase trains on"):
        replace(SMOKE, pretraining=replace(SMOKE.pretraining, phases=tuple(phases)))
