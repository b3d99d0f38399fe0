"""Materialize the whole graph, asset by asset, and show what came out: `make demo`."""

import graphlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from snow_assets import definitions, summary
from snow_assets.home import home, prepare
from snow_assets.recipe import Recipe, chosen_recipe


class _Progress(logging.Handler):
    """Shows the last line that a step said, beside its name."""

    def __init__(self, status: Status, name: str) -> None:
        super().__init__(logging.INFO)
        self._status, self._name_shown = status, name

    def emit(self, record: logging.LogRecord) -> None:
        said = getattr(record, "dagster_meta", {}).get("orig_message", record.getMessage())
        self._status.update(f"{self._name_shown}  [dim]{escape(said)}[/dim]")


def steps(
    defs: dg.Definitions, instance: dg.DagsterInstance
) -> Iterator[tuple[list[dg.AssetKey], str | None]]:
    """What to run, in order: assets that run together, and the partition, if any."""
    graph = defs.resolve_asset_graph()
    together = {
        key: tuple(sorted(graph.get(key).execution_set_asset_keys))
        for key in graph.toposorted_asset_keys
        if graph.get(key).is_executable
    }
    before: dict[tuple[dg.AssetKey, ...], set[tuple[dg.AssetKey, ...]]] = {}
    for key, keys in together.items():
        parents = {together[parent] for parent in graph.get(key).parent_keys if parent in together}
        before.setdefault(keys, set()).update(parents - {keys})
    for keys in graphlib.TopologicalSorter(before).static_order():
        partitions = graph.get(keys[0]).partitions_def
        if partitions is None:
            yield list(keys), None
        else:
            for name in partitions.get_partition_keys(dynamic_partitions_store=instance):
                yield list(keys), name


def register_sources(recipe: Recipe, instance: dg.DagsterInstance) -> None:
    """Make every source of the recipe a partition; those that are there stay."""
    instance.add_dynamic_partitions("source", [source.name for source in recipe.corpus.sources])


def materialize_all(console: Console, instance: dg.DagsterInstance) -> None:
    """Run every step; the first failure ends it with its reason and exit code 1."""
    logger = logging.Logger("progress", logging.INFO)
    told = dg.Definitions(loggers={"progress": dg.LoggerDefinition(lambda _: logger)})
    defs = dg.Definitions.merge(definitions.defs, told)
    graph = defs.resolve_implicit_global_asset_job_def()
    for keys, partition in steps(defs, instance):
        name = _name(keys, partition)
        started = time.monotonic()
        with console.status(name) as status:
            logger.handlers = [_Progress(status, name)]
            result = graph.execute_in_process(
                run_config={"loggers": {"progress": {}}},
                instance=instance,
                partition_key=partition,
                asset_selection=keys,
                raise_on_error=False,
            )
        seconds = time.monotonic() - started
        if not result.success:
            console.print(f"[red]failed[/red] {name} after {seconds:.1f} s")
            for event in result.all_events:
                if event.is_step_failure:
                    console.print(str(event.step_failure_data.error), markup=False)
            console.print(f"The run is {result.run_id}: `make dev` shows it whole.")
            sys.exit(1)
        console.print(f"{seconds:6.1f} s  {name}  [dim]{_outcome(result)}[/dim]")


def _name(keys: Sequence[dg.AssetKey], partition: str | None) -> str:
    name = keys[0].to_user_string() if len(keys) == 1 else f"{len(keys)} tables"
    return f"{name} \\[{partition}]" if partition else name


def _outcome(result: dg.ExecuteInProcessResult) -> str:
    materializations = result.get_asset_materialization_events()
    metadata = materializations[0].materialization.metadata if materializations else {}
    if "reused" in metadata and metadata["reused"].value:
        return "nothing new"
    if "dagster/row_count" in metadata:
        return f"{metadata['dagster/row_count'].value:,} rows"
    return ""


def main() -> None:
    console = Console(highlight=False)
    prepare()
    recipe = chosen_recipe()
    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        register_sources(recipe, instance)
        console.print(f"Recipe {recipe.name}, in {home()}")
        materialize_all(console, instance)
    made = definitions.resources(recipe)
    summary.show(console, made["lake"], recipe, made["warehouse"].path)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
