"""`make plan`: what the recipe would redo, why, and its cost; or two recipes side by side."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snow_assets.cli.archives import missing_archives
from snow_assets.planning.history import Past
from snow_assets.planning.plan_steps import Plan, Step, UnfinishedArtifact
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.storage.sizes import total_size

EXPERIMENT_OPTION = "--experiment="


def main(arguments: Sequence[str]) -> None:
    """No argument: the chosen recipe. One: that recipe. Two: both, side by side.

    With `--experiment=NAME` before them: that experiment of the recipe. Exit code 1 if a step of a
    single recipe or of the experiment would fail.
    """
    if arguments and arguments[0].startswith(EXPERIMENT_OPTION):
        if arguments[1:]:
            os.environ["SNOW_RECIPE"] = arguments[1]
        _show_experiment(arguments[0].removeprefix(EXPERIMENT_OPTION))
        return
    if len(arguments) == 2:
        left, right = (_in_a_process(choice) for choice in arguments)
        compare(_console(), left, right)
        return
    if arguments:
        os.environ["SNOW_RECIPE"] = arguments[0]
    current = _of_this_installation()
    if os.environ.get(_AS_JSON):
        sys.stdout.write(_PLAN.dump_json(current).decode())
    else:
        show(_console(), current)
        _show_missing_archives(chosen_recipe())
        sys.exit(any(step.action == "fails" for step in current.steps))


def _console() -> Console:
    """The terminal as wide as it is; a file or a pipe as wide as the table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 150)


_PLAN = TypeAdapter(Plan)
_AS_JSON = "SNOW_PLAN_AS_JSON"


def _of_this_installation() -> Plan:
    # The graph's partitions belong to the recipe: it has to be chosen before they are loaded.
    from snow_assets import definitions
    from snow_assets.defs.graph import RECIPE_STAGES
    from snow_assets.planning.plan import plan

    recipe = chosen_recipe()
    resources = definitions.resources(recipe)
    current = plan(RECIPE_STAGES, resources["lake"], recipe, resources)
    seconds = {
        f"{step.asset}/{step.partition}": step.cost.seconds for step in current.steps if step.cost
    }
    Past(lake=resources["lake"], recipe=recipe).keep_estimates(seconds, now=time.time())
    return current


def _show_missing_archives(recipe: Recipe) -> None:
    if message := missing_archives(recipe):
        sys.stdout.write(f"{message}\n")


def _show_experiment(name: str) -> None:
    from snow_assets import definitions
    from snow_assets.cli import experiment_plan
    from snow_assets.planning.experiment_plan import plan_experiment

    recipe = chosen_recipe()
    resources = definitions.resources(recipe)
    try:
        plan = plan_experiment(resources["lake"], recipe, name, resources)
    except ValueError as error:
        sys.exit(str(error))
    experiment_plan.show(_console(), plan)
    sys.exit(any(step.action == "fails" for step in plan.steps))


def _in_a_process(choice: str) -> Plan:
    """The plan of another recipe, whose graph has other partitions."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "snow_assets.cli.plan", choice],
        env={**os.environ, _AS_JSON: "1"},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the plan of {choice} failed; its error is above")
    return _PLAN.validate_json(done.stdout)


def show(console: Console, plan: Plan) -> None:
    """A line per asset; its partitions stand together."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("asset", "action"):
        table.add_column(name, no_wrap=True)
    for name in ("documents", "tokens", "bytes", "time", plan.currency):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for asset, steps in by_asset(plan.steps).items():
        table.add_row(*(escape(cell) for cell in _row(asset, steps)))
    console.print(f"Plan of {plan.recipe}, in {plan.lake}", markup=False)
    console.print(table)
    for line in _training(plan):
        console.print(line, markup=False)
    for item in plan.unfinished:
        console.print(_unfinished(item), markup=False)
    console.print(_total(plan), markup=False)
    if plan.estimated_seconds:
        error = plan.actual_seconds / plan.estimated_seconds - 1
        console.print(
            f"The last estimate: {duration(plan.estimated_seconds)} for what has been done since, "
            f"which took {duration(plan.actual_seconds)} ({error:+.0%})."
        )


def compare(console: Console, left: Plan, right: Plan) -> None:
    """Two plans side by side: assets whose action or cost differs, and the sums."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("asset", no_wrap=True)
    for plan in (left, right):
        table.add_column(plan.recipe, no_wrap=True)
        for name in ("tokens", "time", plan.currency):
            table.add_column(name, justify="right", no_wrap=True)
    sides = [by_asset(left.steps), by_asset(right.steps)]
    for asset in {**sides[0], **sides[1]}:
        cells = [_short(side.get(asset, [])) for side in sides]
        table.add_row(asset, *cells[0], *cells[1])
    console.print(table)
    for plan in (left, right):
        console.print(f"{plan.recipe}: {_total(plan)}", markup=False)
        for line in _training(plan):
            console.print(f"{plan.recipe}: {line}", markup=False)


def by_asset(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps of each asset, in order."""
    assets: dict[str, list[Step]] = {}
    for step in steps:
        assets.setdefault(step.asset, []).append(step)
    return assets


def _row(asset: str, steps: Sequence[Step]) -> list[str]:
    size = total_size(step.size for step in steps)
    counts = [count_text(size.documents), count_text(size.tokens), count_text(size.num_bytes)]
    name = asset if len(steps) == 1 and steps[0].partition == "all" else f"{asset} [{len(steps)}]"
    return [name, _actions(steps), *counts, *cost_cells(steps), _why(steps)]


def _short(steps: Sequence[Step]) -> list[str]:
    if not steps:
        return ["-", "", "", ""]
    return [
        _actions(steps),
        count_text(total_size(step.size for step in steps).tokens),
        *cost_cells(steps),
    ]


def _actions(steps: Sequence[Step]) -> str:
    counts: dict[str, int] = {}
    for step in steps:
        counts[step.action] = counts.get(step.action, 0) + 1
    if set(counts) == {"new shards"}:
        new, whole = sum(s.new_shards for s in steps), sum(s.all_shards for s in steps)
        return f"{new} of {whole} shards new"
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {action}" for action, count in counts.items())


def _why(steps: Sequence[Step]) -> str:
    reasons = list(dict.fromkeys(reason for step in steps for reason in step.reasons))
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def cost_cells(steps: Sequence[Step]) -> list[str]:
    """Time and price of steps as two cells; empty where there is nothing to do."""
    costs = [step.cost for step in steps if step.cost]
    if not costs:
        return ["", ""]
    if not any(cost.is_known for cost in costs):
        return ["?", "?"]
    hours = sum(cost.gpu_hours for cost in costs)
    is_measured = all(cost.is_measured for cost in costs)
    time_cell = f"{hours:,.1f} GPU-h" if hours else duration(sum(cost.seconds for cost in costs))
    price = sum(cost.price for cost in costs)
    return [
        time_cell if is_measured else f"~{time_cell}",
        f"{price:,.2f}" if price >= 0.005 else "0",
    ]


def _unfinished(item: UnfinishedArtifact) -> str:
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(item.started))
    return (
        f"Half done: {item.asset} [{item.partition}] {item.fingerprint[:12]}, "
        f"{item.num_files} files, "
        f"{count_text(item.num_bytes)}B, begun {began} UTC by {item.recipe}, stays behind: "
        f"{'; '.join(item.reasons[:3])}."
    )


def _training(plan: Plan) -> list[str]:
    """A line for each step that trains on GPUs: how many, their memory, days and price."""
    return [
        f"{step.asset}: {cost.gpus} GPUs, about {cost.gpu_memory_bytes / 2**30:.0f} of the "
        f"{plan.gpu_memory_gib} GiB of each, {cost.seconds / 86_400:,.1f} days, "
        f"{cost.price:,.0f} {plan.currency}"
        for step in plan.steps
        if (cost := step.cost) is not None and cost.gpu_memory_bytes is not None
    ]


def _total(plan: Plan) -> str:
    hours = f", {plan.gpu_hours:,.1f} GPU-hours" if plan.gpu_hours else ""
    return (
        f"{len(plan.todo)} of {len(plan.steps)} steps to do: {duration(plan.seconds)}{hours}, "
        f"{plan.price:,.2f} {plan.currency}; ~ = by stated rates, nothing was measured yet; "
        "? = of unknown size, and not in the sum."
    )


def count_text(number: float) -> str:
    """Three digits and a unit of thousands; empty for zero."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}" if number else ""


def duration(seconds: float) -> str:
    """In seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


if __name__ == "__main__":
    main([argument for argument in sys.argv[1:] if argument])
