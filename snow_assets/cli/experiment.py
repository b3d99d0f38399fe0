"""Run an experiment and show its comparisons: `make experiment NAME=paper_claims`.

Each arm with each seed is a run in Dagster. A run that fails does not stop the others; started
again, the experiment makes what is missing.
"""

import logging
import sys
import time

import dagster as dg
from rich.console import Console
from rich.markdown import Markdown

from snow_assets import definitions
from snow_assets.cli.demo import StepFailedError, failure_message
from snow_assets.cli.step_runs import StepRunner
from snow_assets.defs.experiments import (
    experiment_arms,
    experiment_comparisons,
    missing_corpus,
)
from snow_assets.defs.materialize import current_artifact
from snow_assets.experiments import asset_metadata
from snow_assets.experiments.arms import arm_runs
from snow_assets.home import home, prepare, warn
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.storage import shards
from snow_resources.file_lock import exclusive


def run_experiment(
    console: Console, instance: dg.DagsterInstance, recipe: Recipe, name: str
) -> None:
    """Make every arm of an experiment and compare them; StepFailedError names what failed."""
    runner = StepRunner(instance, logging.Logger("experiment", logging.WARNING))
    failed = []
    for run in arm_runs(recipe):
        if run.experiment.name != name:
            continue
        started = time.monotonic()
        result = runner.run([dg.AssetKey(experiment_arms.name)], run.partition, recipe)
        outcome = "" if result.success else "  [red]failed[/red]"
        console.print(f"{time.monotonic() - started:6.1f} s  {run.arm}, seed {run.seed}{outcome}")
        if not result.success:
            failed.append(f"{run.partition}: {failure_message(console, result)}")
    if failed:
        raise StepFailedError("\n".join(failed))
    result = runner.run([dg.AssetKey(experiment_comparisons.name)], name, recipe)
    if not result.success:
        raise StepFailedError(failure_message(console, result))


def main(name: str) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    recipe = chosen_recipe()
    names = [experiment.name for experiment in recipe.experiments]
    if name not in names:
        sys.exit(f"recipe {recipe.name} has no experiment {name!r}: NAME is one of {names}")
    prepare()
    lake = definitions.resources(recipe)["lake"]
    if missing := missing_corpus(lake, recipe):
        sys.exit(f"{missing}; `make demo` does so")
    waiting = "Another run works in this home; waiting for its end"
    with (
        exclusive(home() / "demo.lock", waiting=waiting, warn=warn),
        dg.DagsterInstance.get() as instance,
    ):
        try:
            run_experiment(console, instance, recipe, name)
        except StepFailedError as error:
            console.print(str(error), markup=False)
            sys.exit(1)
    comparisons = current_artifact(lake, recipe, experiment_comparisons.name, name)
    rows = shards.read(comparisons.folder, "comparisons").to_pylist()
    console.print(Markdown(asset_metadata.comparisons_table(rows)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
