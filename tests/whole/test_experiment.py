"""An experiment from its command to its tables, on a corpus that exists."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snow_assets.storage import shards
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


_CURATE_AND_PUBLISH = """
import logging
import dagster as dg
from snow_assets.cli.step_runs import StepRunner
from snow_assets.defs.experiments import corpus_stages
from snow_assets.recipe import chosen_recipe
from snow_assets.stages import UNPARTITIONED, partition_names
from snow_assets.tables.assets import tables
recipe = chosen_recipe()
with dg.DagsterInstance.get() as instance:
    runner = StepRunner(instance, logging.Logger("test"))
    for stage in corpus_stages(recipe):
        for name in partition_names(stage.partitions, recipe):
            partition = None if name == UNPARTITIONED else name
            assert runner.run([dg.AssetKey(stage.name)], partition, recipe).success, stage.name
    assert runner.run(sorted(tables.keys), None, recipe).success
"""


def run(
    home: Path, *arguments: str, recipe: str = "EXPERIMENT"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=CHECKOUT,
        env=environment(home, SNOW_RECIPE=f"tests.recipes:{recipe}", HF_HUB_OFFLINE="1"),
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
        ("untrained", "selected", False, 2),
    ]
    # Worse, and therefore shown, published, and held back.
    assert re.search(r"untrained +│? *selected .* worse", done.stdout)
    worse = query(
        home / "warehouse.duckdb", "select arm from arm_comparisons where outcome='worse'"
    )
    assert ("untrained",) in worse.rows
    promoted = run(home, "-m", "snow_assets.cli.promote")
    assert promoted.returncode == 1
    assert "No model of recipe EXPERIMENT is promoted: claim: untrained against selected" in (
        promoted.stderr
    )
    annotators = query(
        home / "warehouse.duckdb",
        "select arm, count(distinct annotator) from arm_annotators group by arm order by arm",
    )
    assert annotators.rows == [
        ("random", 1),
        ("random_again", 1),
        ("selected", 1),
        ("shuffled", 1),
        ("untrained", 1),
    ]
    correlated = query(
        home / "warehouse.duckdb",
        "select gate, language, num_arms, num_seeds from annotator_correlations",
    )
    assert ("test_benchmark", None, 3, 2) in correlated.rows
    assert ("test_benchmark", "python", 3, 2) in correlated.rows


def run_experiment(home: Path, recipe: str) -> None:
    done = run(home, "-m", "snow_assets.cli.experiment", "sources", recipe=recipe)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def checkpoints(home: Path) -> dict[str, str]:
    """Arm and seed -> the fingerprint of the checkpoint that the recipe's current result is of."""
    lake = home / "lake"
    found = {}
    for path in (lake / "current" / "SOURCES" / "experiment_arms").glob("*.json"):
        fingerprint = json.loads(path.read_text())["fingerprint"]
        folder = str(lake / "experiment_arms" / path.stem / fingerprint)
        (read,) = [
            read for read in shards.manifest(folder).inputs if read.asset == "general_checkpoint"
        ]
        found[path.stem] = read.fingerprint
    return found


def evidence(home: Path, recipe: str) -> list[tuple[Any, ...]]:
    """The published comparisons, after curation and without a new arm."""
    done = run(home, "-c", _CURATE_AND_PUBLISH, recipe=recipe)
    assert done.returncode == 0, done.stderr[-3000:]
    return query(
        home / "warehouse.duckdb",
        "select arm, baseline, is_stale, left_documents, left_tokens from comparison_evidence "
        "where recipe = 'SOURCES' order by arm, baseline",
    ).rows


@pytest.mark.timeout(1_800)
def test_a_dropped_source_makes_its_comparisons_stale_and_only_their_arms_are_trained_anew(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    run_experiment(home, "SOURCES")
    before = checkpoints(home)
    assert len(set(before.values())) == 6
    assert [row[2] for row in evidence(home, "SOURCES")] == [False, False]

    compared, control = evidence(home, "SOURCES_WITHOUT_NATIVE")
    assert compared[:3] == ("narrow", "whole", True)
    assert control == ("narrow_again", "narrow", False, 0, 0)
    left_documents, left_tokens = compared[3:]
    assert 0 < left_documents < left_tokens

    trained = set((home / "lake" / "general_checkpoint" / "all").iterdir())
    run_experiment(home, "SOURCES_WITHOUT_NATIVE")
    after = checkpoints(home)
    assert {name for name in after if after[name] != before[name]} == {
        "sources-whole-0",
        "sources-whole-1",
    }
    new = set((home / "lake" / "general_checkpoint" / "all").iterdir()) - trained
    assert {path.name for path in new} == {after["sources-whole-0"], after["sources-whole-1"]}
    assert [row[2:] for row in evidence(home, "SOURCES_WITHOUT_NATIVE")] == [(False, 0, 0)] * 2
