"""`make plan EXPERIMENT=...`: the steps of an experiment on one screen, before it runs."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from snow_assets.cli.plan import by_asset, cost_cells, count_text, duration
from snow_assets.planning.experiment_plan import ExperimentPlan
from snow_assets.planning.plan_steps import Step
from snow_assets.storage.sizes import total_size


def show(console: Console, plan: ExperimentPlan) -> None:
    """A line per asset that arms share, then a line per arm and seed, then the sum."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("made", no_wrap=True)
    for name in ("steps", "tokens", "time", plan.currency):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for asset, steps in by_asset(plan.corpus).items():
        table.add_row(*_row(_counted(asset, steps), steps, "has to be materialized first"))
    for asset, steps in by_asset(plan.shared).items():
        table.add_row(*_row(_counted(asset, steps), steps, "once, for several arms or seeds"))
    for arm in plan.arms:
        assets = [_counted(asset, steps) for asset, steps in by_asset(arm.steps).items()]
        what = ", ".join(assets) or "finished"
        table.add_row(*_row(f"{arm.arm}, seed {arm.seed}", arm.steps, what))
    console.print(f"Plan of {plan.experiment} ({plan.recipe}), in {plan.lake}", markup=False)
    console.print(table)
    for step in plan.steps:
        if step.action == "fails":
            reasons = "; ".join(step.reasons)
            console.print(f"{step.asset} [{step.partition}] fails: {reasons}", markup=False)
    costs = [step.cost for step in plan.steps if step.cost]
    hours = sum(cost.gpu_hours for cost in costs)
    gpus = f", {hours:,.1f} GPU-hours" if hours else ""
    console.print(
        f"{len(plan.steps)} steps to do: {duration(sum(cost.seconds for cost in costs))}{gpus}, "
        f"{sum(cost.price for cost in costs):,.2f} {plan.currency}; ~ = by stated rates.",
        markup=False,
    )


def _counted(asset: str, steps: Sequence[Step]) -> str:
    return asset if len(steps) == 1 else f"{asset} [{len(steps)}]"


def _row(name: str, steps: Sequence[Step], what: str) -> list[str]:
    trained = [step.size for step in steps if step.asset.endswith("_checkpoint")]
    tokens = count_text(total_size(trained).tokens)
    return [name, str(len(steps) or ""), tokens, *cost_cells(steps), what]
