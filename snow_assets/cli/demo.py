"""Materialize the whole graph, asset by asset, and show what came out: `make demo`."""

import logging
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from sqlalchemy.exc import SQLAlchemyError

from snow_assets import definitions
from snow_assets.cli import summary
from snow_assets.cli.archives import fetch_archives
from snow_assets.cli.step_runs import StepRunner
from snow_assets.corpus.sources import source_violations
from snow_assets.defs.graph import RECIPE_STAGES
from snow_assets.home import home, prepare, warn
from snow_assets.planning.history import Past
from snow_assets.planning.plan import plan
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.stages import UNPARTITIONED, Stage, partition_names
from snow_assets.storage.disk_space import full_disk_message, is_disk_full
from snow_assets.tables.assets import tables
from snow_resources.file_lock import exclusive
from snow_resources.local_runs import end_dead_runs

_NOTHING_NEW = "nothing new"


class _Progress(logging.Handler):
    """Shows the last line that a step logged, beside its name."""

    def __init__(self, status: Status, name: str) -> None:
        super().__init__(logging.INFO)
        self._status, self._step_name = status, name

    def emit(self, record: logging.LogRecord) -> None:
        message = getattr(record, "dagster_meta", {}).get("orig_message", record.getMessage())
        self._status.update(f"{self._step_name}  [dim]{escape(message)}[/dim]")


class StepFailedError(Exception):
    """A step's run failed; the message ends with the cause."""


class InterruptedRunError(StepFailedError):
    """A signal ended a step's run."""


Steps = Iterable[tuple[list[dg.AssetKey], str | None]]
"""Assets that run together, and their partition."""


def materialize(
    console: Console, instance: dg.DagsterInstance, recipe: Recipe, steps: Steps
) -> None:
    """Run every step that is to do, in order; StepFailedError at the first that fails."""
    logger = logging.Logger("progress", logging.INFO)
    runner = StepRunner(instance, logger)
    up_to_date = _up_to_date(instance, recipe)
    for keys, partition in steps:
        name = _name(keys, partition)
        if (keys[0], partition) in up_to_date:
            console.print(f"{0:6.1f} s  {name}  [dim]{_NOTHING_NEW}[/dim]")
            continue
        started = time.monotonic()
        with console.status(name) as status:
            logger.handlers = [_Progress(status, name)]
            result = runner.run(keys, partition, recipe)
        seconds = time.monotonic() - started
        if not result.success:
            console.print(f"[red]failed[/red] {name} after {seconds:.1f} s")
            raise StepFailedError(failure_message(console, result))
        console.print(f"{seconds:6.1f} s  {name}  [dim]{_outcome(result)}[/dim]")


def stage_steps(recipe: Recipe, stages: Iterable[Stage]) -> Steps:
    """Stages, each with its partitions."""
    for stage in stages:
        for name in partition_names(stage.partitions, recipe):
            yield [dg.AssetKey(stage.name)], _partition(name)


def table_steps() -> Steps:
    """All tables, which are published together."""
    yield sorted(tables.keys), None


def recipe_steps(recipe: Recipe) -> Steps:
    """What the recipe is made by, in order: its stages, then the tables."""
    return chain(stage_steps(recipe, RECIPE_STAGES), table_steps())


def _up_to_date(
    instance: dg.DagsterInstance, recipe: Recipe
) -> set[tuple[dg.AssetKey, str | None]]:
    """The steps whose run would find its work done, the recipe's pointer on it and Dagster showing
    it: starting it costs a second. The tables are always evaluated, together."""
    resources = definitions.resources(recipe)
    past = Past(lake=resources["lake"], recipe=recipe)
    up_to_date = set()
    for step in plan(RECIPE_STAGES, resources["lake"], recipe, resources).steps:
        current = past.current(step.asset, step.partition)
        if step.action == "reuse" and not step.reasons and current is not None:
            key = dg.AssetKey(step.asset), _partition(step.partition)
            if _data_version(instance, *key) == current.digest:
                up_to_date.add(key)
    return up_to_date


def _bytes_left(recipe: Recipe) -> float | None:
    """How much the steps that are left write, by the plan; None where it is unknown."""
    resources = definitions.resources(recipe)
    try:
        left = plan(RECIPE_STAGES, resources["lake"], recipe, resources).todo
    except (OSError, ValueError):
        return None
    return sum(step.size.num_bytes for step in left)


def _partition(name: str) -> str | None:
    return None if name == UNPARTITIONED else name


def _data_version(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None
) -> str | None:
    """The data version of the latest materialization in Dagster."""
    records_filter = dg.AssetRecordsFilter(
        asset_key=key, asset_partitions=[partition] if partition else None
    )
    records = instance.fetch_materializations(records_filter, limit=1).records
    latest = records[0].asset_materialization if records else None
    return (latest.tags or {}).get("dagster/data_version") if latest else None


def failure_message(console: Console, result: dg.JobExecutionResult) -> str:
    """Print the whole errors; returns what a person reads last: the run, and each cause.

    InterruptedRunError if a signal ended the run.
    """
    causes = []
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if error is None:
            continue
        chain = [error]
        while chain[-1].cause is not None:
            chain.append(chain[-1].cause)
        if any(item.cls_name == "DagsterExecutionInterruptedError" for item in chain):
            raise InterruptedRunError(
                "Interrupted. Finished work is kept: start it again to go on."
            )
        console.print(str(error), markup=False, style="dim")
        causes.append(chain[-1].message.strip())
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
                causes.append(f"{check.check_name}: {check.description}")
    run = f"The run is {result.run_id}: `make dev` shows it whole."
    return "\n".join([run, *causes])


def _name(keys: Sequence[dg.AssetKey], partition: str | None) -> str:
    name = keys[0].to_user_string() if len(keys) == 1 else f"{len(keys)} tables"
    return f"{name} \\[{partition}]" if partition else name


def _outcome(result: dg.JobExecutionResult) -> str:
    materializations = result.get_asset_materialization_events()
    metadata = materializations[0].materialization.metadata if materializations else {}
    if "reused" in metadata and metadata["reused"].value:
        return _NOTHING_NEW
    if "dagster/row_count" in metadata:
        return f"{metadata['dagster/row_count'].value:,} rows"
    return ""


def main() -> None:
    console = Console(highlight=False)
    prepare()
    recipe = chosen_recipe()
    started = time.monotonic()
    waiting = "Another `make demo` works in this home; waiting for its end"
    with (
        exclusive(home() / "demo.lock", waiting=waiting, warn=warn),
        dg.DagsterInstance.get() as instance,
    ):
        for run_id in end_dead_runs(instance):
            warn(f"Ended run {run_id}: its process is gone")
        console.print(f"Recipe {recipe.name}, in {home()}")
        fetch_archives(console, recipe)
        if violations := source_violations(recipe.corpus):
            console.print("Nothing was started:\n" + "\n".join(violations), markup=False)
            sys.exit(1)
        try:
            materialize(console, instance, recipe, recipe_steps(recipe))
        except (StepFailedError, OSError, SQLAlchemyError) as error:
            if not isinstance(error, StepFailedError) and not is_disk_full(error):
                raise
            console.print(str(error), markup=False)
            if is_disk_full(error):
                console.print(full_disk_message(home(), _bytes_left(recipe)), markup=False)
            sys.exit(1)
        resources = definitions.resources(recipe)
        summary.show(console, resources["lake"], recipe, resources["warehouse"].path)
        if waiting_records := resources["tracking"].write_waiting().message():
            console.print(f"\n{waiting_records}", markup=False)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
