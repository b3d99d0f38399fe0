"""A plan's data, as JSON between two processes, and its tables on one screen, alone or compared."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snow_assets.estimates import Cost
from snow_assets.sizes import Size, total_size

Action = Literal["reuse", "go on", "new shards", "redo", "fails"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One asset's partition. `size` is what the step makes; of `new shards`, what is new."""

    asset: str
    partition: str
    action: Action
    reasons: tuple[str, ...] = ()
    new_shards: int = 0  # of `all_shards`, where the step works off only these
    all_shards: int = 0
    size: Size = field(default_factory=Size)
    cost: Cost | None = None  # None: nothing to do
    generation: str | None = None  # the artifact's hash; None: an input is pending


@dataclass(frozen=True, kw_only=True)
class HalfDone:
    """A generation without a manifest that this plan does not go on with."""

    asset: str
    partition: str
    generation: str
    recipe: str
    num_files: int
    num_bytes: int
    started: float
    reasons: tuple[str, ...]  # how the plan's own generation differs


@dataclass(frozen=True, kw_only=True)
class Plan:
    recipe: str
    lake: str
    currency: str
    steps: list[Step]
    half_done: list[HalfDone]
    estimated_seconds: float = 0  # by the last plan, of steps that have been done since
    actual_seconds: float = 0

    @property
    def todo(self) -> list[Step]:
        return [step for step in self.steps if step.action != "reuse"]

    @property
    def seconds(self) -> float:
        return sum(step.cost.seconds for step in self.steps if step.cost)

    @property
    def gpu_hours(self) -> float:
        return sum(step.cost.gpu_hours for step in self.steps if step.cost)

    @property
    def price(self) -> float:
        return sum(step.cost.price for step in self.steps if step.cost)


def show(console: Console, plan: Plan) -> None:
    """A line per asset; its partitions stand together."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("asset", "action"):
        table.add_column(name, no_wrap=True)
    for name in ("documents", "tokens", "bytes", "time", plan.currency):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for asset, steps in _by_asset(plan).items():
        table.add_row(*(escape(cell) for cell in _row(asset, steps)))
    console.print(f"Plan of {plan.recipe}, in {plan.lake}", markup=False)
    console.print(table)
    for item in plan.half_done:
        console.print(_half_done(item), markup=False)
    console.print(_total(plan), markup=False)
    if plan.estimated_seconds:
        error = plan.actual_seconds / plan.estimated_seconds - 1
        console.print(
            f"The last estimate: {_duration(plan.estimated_seconds)} for what has been done since, "
            f"which took {_duration(plan.actual_seconds)} ({error:+.0%})."
        )


def compare(console: Console, left: Plan, right: Plan) -> None:
    """Two plans side by side: assets whose action or cost differs, and the sums."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("asset", no_wrap=True)
    for plan in (left, right):
        table.add_column(plan.recipe, no_wrap=True)
        for name in ("tokens", "time", plan.currency):
            table.add_column(name, justify="right", no_wrap=True)
    sides = [_by_asset(left), _by_asset(right)]
    for asset in {**sides[0], **sides[1]}:
        cells = [_short(side.get(asset, [])) for side in sides]
        table.add_row(asset, *cells[0], *cells[1])
    console.print(table)
    for plan in (left, right):
        console.print(f"{plan.recipe}: {_total(plan)}", markup=False)


def _by_asset(plan: Plan) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = {}
    for step in plan.steps:
        steps.setdefault(step.asset, []).append(step)
    return steps


def _row(asset: str, steps: Sequence[Step]) -> list[str]:
    size = total_size(step.size for step in steps)
    counts = [_count(size.documents), _count(size.tokens), _count(size.num_bytes)]
    name = asset if len(steps) == 1 and steps[0].partition == "all" else f"{asset} [{len(steps)}]"
    return [name, _actions(steps), *counts, *_cost(steps), _why(steps)]


def _short(steps: Sequence[Step]) -> list[str]:
    if not steps:
        return ["-", "", "", ""]
    return [_actions(steps), _count(total_size(step.size for step in steps).tokens), *_cost(steps)]


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


def _cost(steps: Sequence[Step]) -> list[str]:
    costs = [step.cost for step in steps if step.cost]
    if not costs:
        return ["", ""]
    if not any(cost.is_known for cost in costs):
        return ["?", "?"]
    hours = sum(cost.gpu_hours for cost in costs)
    is_measured = all(cost.is_measured for cost in costs)
    duration = f"{hours:,.1f} GPU-h" if hours else _duration(sum(cost.seconds for cost in costs))
    price = sum(cost.price for cost in costs)
    return [duration if is_measured else f"~{duration}", f"{price:,.2f}" if price >= 0.005 else "0"]


def _half_done(item: HalfDone) -> str:
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(item.started))
    return (
        f"Half done: {item.asset} [{item.partition}] {item.generation[:12]}, "
        f"{item.num_files} files, "
        f"{_count(item.num_bytes)}B, begun {began} UTC by {item.recipe}, stays behind: "
        f"{'; '.join(item.reasons[:3])}."
    )


def _total(plan: Plan) -> str:
    hours = f", {plan.gpu_hours:,.1f} GPU-hours" if plan.gpu_hours else ""
    return (
        f"{len(plan.todo)} of {len(plan.steps)} steps to do: {_duration(plan.seconds)}{hours}, "
        f"{plan.price:,.2f} {plan.currency}; ~ = by stated rates, nothing was measured yet; "
        "? = of a size that nobody knows yet, and not in the sum."
    )


def _count(number: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}" if number else ""


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
