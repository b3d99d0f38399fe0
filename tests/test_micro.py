"""MICRO: valid arms, pinned archives, and addresses that its fields do not move."""

from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from snow_assets.cli.archives import fetch_archives
from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.pinned_archives import read_pins
from snow_assets.corpus.repository_names import canonical
from snow_assets.experiments.arms import arm_phase, arm_recipe, arm_run, arm_runs
from snow_assets.home import CHECKOUT, home
from snow_assets.recipe import ARCTIC, MICRO, SMOKE
from snow_assets.recipe.annotator import AnnotatorRecipe, annotator_values
from snow_assets.stages import as_json

PINS = read_pins(CHECKOUT / str(MICRO.operation.archive_pins))


def test_every_arm_of_micro_is_a_valid_recipe_of_its_own() -> None:
    recipes = [arm_recipe(MICRO, run) for run in arm_runs(MICRO)]
    assert len(recipes) == 3 * 11 + 3 * 6
    assert len({str(as_json(replace(recipe, name="x"))) for recipe in recipes}) == len(recipes)


def test_arms_of_the_claims_train_on_equal_tokens_and_share_the_corpus() -> None:
    claims = MICRO.experiments[0]
    for run in arm_runs(MICRO):
        if run.experiment == claims:
            recipe = arm_recipe(MICRO, run)
            tokens = recipe.pretraining.phase("continued").tokens
            assert recipe.selection.budget_tokens == tokens == 196_608
            assert (recipe.corpus, recipe.exemplars) == (MICRO.corpus, MICRO.exemplars)


def test_an_ablation_leaves_out_what_its_name_says() -> None:
    run = arm_run(MICRO, "stage_ablation-without_enhanced-0")
    assert arm_phase(MICRO, run) == "continued"
    run = arm_run(MICRO, "stage_ablation-without_synthetic-0")
    assert arm_recipe(MICRO, run).pretraining.phase("enhanced").data == ("high_quality",)


def test_every_folder_of_archives_is_pinned_and_no_archive_twice() -> None:
    sources = [*MICRO.corpus.sources, *(group.source for group in MICRO.exemplars.file_groups)]
    folders = {location for source in sources for location in source.locations}
    assert folders == {str(home() / "archives" / pin.group) for pin in PINS}
    assert len({pin.specifier for pin in PINS}) == len({pin.file for pin in PINS}) == len(PINS)
    corpus = {pin.specifier for pin in PINS if pin.group in ("python", "javascript", "native")}
    assert len(corpus) >= MICRO.corpus.min_repositories


def test_no_benchmark_is_pinned() -> None:
    benchmarks = {canonical(benchmark.source.name) for benchmark in BENCHMARKS.values()}
    for pin in PINS:
        assert canonical(pin.specifier.partition("==")[0]) not in benchmarks


def test_a_recipe_without_pins_fetches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    fetch_archives(Console(), SMOKE)
    assert capsys.readouterr().out == ""


def test_values_that_came_later_move_no_address_of_an_annotator() -> None:
    later = [field.name for field in fields(AnnotatorRecipe) if field.default is not MISSING]
    assert {"positive_groups", "labels", "target"} <= set(later)
    for recipe in (SMOKE, ARCTIC):
        assert not set(later) & set(annotator_values(recipe.annotator))
    shuffled = annotator_values(replace(MICRO.annotator, labels="shuffled"))
    assert shuffled["labels"] == "shuffled"
    assert shuffled["positive_groups"] == ("functions", "standing")
    reordered = replace(MICRO.annotator, positive_groups=("standing", "functions"))
    assert annotator_values(reordered) == annotator_values(MICRO.annotator)


def test_an_annotator_of_an_unknown_group_is_refused() -> None:
    annotator = replace(MICRO.annotator, positive_groups=("reviewed",))
    with pytest.raises(ValueError, match=r"no group 'reviewed', only \['functions', 'standing'"):
        replace(MICRO, annotator=annotator)


def test_archives_lie_in_the_home(tmp_path: Path) -> None:
    assert all(pin.path(tmp_path).parent.parent == tmp_path for pin in PINS)
