"""Run an experiment and show its comparisons: `make experiment NAME=paper_claims`.

What the recipe has not yet of the corpus is made first, and the tables last. Each arm with each
seed is a run in Dagster. A run that fails does not stop the others; started again, the experiment
makes what is missing.
"""

import logging
import sys
import time

import dagster as dg
from rich.console import Console
from rich.markdown import Markdown

from snow_assets import definitions
from snow_assets.cli.archives import fetch_archives
from snow_assets.cli.demo import (
    StepFailedError,
    failure_message,
    materialize,
    stage_steps,
    table_steps,
)
from snow_assets.cli.step_runs import StepRunner
from snow_assets.defs.experiments import (
    corpus_stages,
    experiment_arms,
    experiment_comparisons,
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
    started = time.monotonic()
    waiting = "Another run works in this home; waiting for its end"
    with (
        exclusive(home() / "demo.lock", waiting=waiting, warn=warn),
        dg.DagsterInstance.get() as instance,
    ):
        fetch_archives(console, recipe)
        try:
            materialize(console, instance, recipe, stage_steps(recipe, corpus_stages(recipe)))
            run_experiment(console, instance, recipe, name)
            materialize(console, instance, recipe, table_steps())
        except StepFailedError as error:
            console.print(str(error), markup=False)
            sys.exit(1)
    comparisons = current_artifact(lake, recipe, experiment_comparisons.name, name)
    rows = shards.read(comparisons.folder, "comparisons").to_pylist()
    console.print(Markdown(asset_metadata.comparisons_table(rows)))
    if correlations := shards.read(comparisons.folder, "correlations").to_pylist():
        console.print(Markdown(asset_metadata.correlations_table(correlations)))
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
