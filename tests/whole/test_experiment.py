"""An experiment from its command to its tables, on a corpus that exists."""

import subprocess
import sys
from pathlib import Path

import pytest

from snow_resources.warehouse import query
from tests.whole.conftest import CHECKOUT, environment

_SHARED = """
from functools import partial
from snow_assets import definitions
from snow_assets.defs.experiments import arm_stages, shared_stages
from snow_assets.defs.materialize import current_artifact
from snow_assets.experiments.arms import arm_phase, arm_recipe, arm_runs
from snow_assets.recipe import chosen_recipe
from snow_assets.stages import StageInputs, partition_names
recipe = chosen_recipe()
resources = definitions.resources(recipe)
lake = resources["lake"]
base = partial(current_artifact, lake, recipe)
run = list(arm_runs(recipe))[-1]
arm = arm_recipe(recipe, run)
stages = shared_stages(arm_stages(arm, arm_phase(recipe, run)), arm, recipe)
assert len(stages) > 8
for stage in stages:
    for name in partition_names(stage.partitions, arm):
        inputs = StageInputs(
            stage=stage,
            partition=name,
            recipe=arm,
            lake=lake,
            resolve=base,
            resources={each: resources[each] for each in stage.resources},
        )
        assert inputs.artifact_spec().fingerprint == base(stage.name, name).fingerprint, stage.name
"""


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=CHECKOUT,
        env=environment(home, SNOW_RECIPE="tests.recipes:EXPERIMENT", HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        check=False,
    )


def planned(home: Path) -> str:
    done = run(home, "-m", "snow_assets.cli.plan", "--experiment=claim")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(1_800)
def test_arms_share_what_is_equal_and_are_compared(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run(home, "-m", "snow_assets.cli.experiment", "claim")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "selected, seed 1" in done.stdout
    assert "random (control)" in done.stdout
    assert "test_benchmark" in done.stdout  # the annotators' AUCs against the arms

    lake = home / "lake"
    finished = {
        asset: len(list((lake / asset / "all").glob("*/manifest.json")))
        for asset in ("quality_annotator", "general_checkpoint", "continued_checkpoint")
    }
    # Two annotators, one of them a control's; a general checkpoint a seed, and a continued one an
    # arm and seed. One arm starts its continued phase from random weights.
    assert finished == {
        "quality_annotator": 2,
        "general_checkpoint": 2,
        "continued_checkpoint": 10,
    }
    assert planned(home).count("finished") == 10

    shared = run(home, "-c", _SHARED)  # what is taken over unasked has the arm's own fingerprint
    assert shared.returncode == 0, shared.stderr[-3000:]

    attempts = sorted((lake / "jobs").glob("*/*/*/attempt-*"))
    again = run(home, "-m", "snow_assets.cli.experiment", "claim")
    assert again.returncode == 0, again.stderr[-3000:]
    assert sorted((lake / "jobs").glob("*/*/*/attempt-*")) == attempts

    compared = query(  # the experiment published the tables, without the arms' subsets
        home / "warehouse.duckdb",
        "select arm, baseline, is_control, num_seeds from arm_comparisons order by is_control desc",
    )
    assert compared.rows == [
        ("random_again", "random", True, 2),
        ("selected", "random", False, 2),
        ("without_general", "selected", False, 2),
    ]
    annotators = query(
        home / "warehouse.duckdb",
        "select arm, count(distinct annotator) from arm_annotators group by arm order by arm",
    )
    assert annotators.rows == [
        ("random", 1),
        ("random_again", 1),
        ("selected", 1),
        ("shuffled", 1),
        ("without_general", 1),
    ]
    correlated = query(
        home / "warehouse.duckdb",
        "select gate, language, num_arms, num_seeds from annotator_correlations",
    )
    assert ("test_benchmark", None, 3, 2) in correlated.rows
    assert ("test_benchmark", "python", 3, 2) in correlated.rows
