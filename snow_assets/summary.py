"""The one screen that `make demo` ends with: what went in, what came out, where to look next."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from snow_assets import shards
from snow_assets.materialize import upstream
from snow_assets.recipe import Recipe
from snow_resources.lake import Lake
from snow_resources.warehouse import query

_FUNNEL = """
select stage, coalesce(reason, outcome) as what, sum(num_documents)::bigint as documents
from curation_funnel where outcome <> 'in'
group by all order by min(stage_order), max(outcome) desc, documents desc
"""
_SELECTED = """
select language,
    coalesce(sum(num_tokens) filter (where repeats > 0), 0)::bigint as selected_tokens,
    sum(num_tokens)::bigint as of_tokens, max(repeats) as repeats,
    sum(num_trained_tokens)::bigint as trained_tokens
from selection_by_language group by language order by language
"""
_SYNTHETIC = """
select coalesce(reason, outcome) as what, sum(num_documents)::bigint as files
from synthetic_yield group by all order by files desc
"""
_SCORES = """
select checkpoint,
    max(phase_tokens) as trained_tokens,
    avg(value) filter (where metric = 'bits_per_byte') as bits_per_byte,
    avg(value) filter (where metric = 'solution_bits_per_byte') as solution_bits_per_byte,
    avg(value) filter (where metric = 'pass_at_1') as pass_at_1
from checkpoint_scoreboard where subset in ('all', 'steered', 'unsteered') group by checkpoint
order by bits_per_byte desc
"""


def show(console: Console, lake: Lake, recipe: Recipe, warehouse: str) -> None:
    """Print the screen; every figure comes from the published tables or a manifest."""
    _print(console, "What became of the files", query(warehouse, _FUNNEL))
    if _is_made(lake, recipe, "quality_annotator"):
        _facts(console, "Annotator", lake, recipe, "quality_annotator", "auc")
    if _is_made(lake, recipe, "high_quality_subset"):
        _print(console, "Selected, per language", query(warehouse, _SELECTED))
    if _is_made(lake, recipe, "synthetic_set"):
        _print(console, "Synthetic files", query(warehouse, _SYNTHETIC))
    for phase in ("general", "continued", "enhanced"):
        if _is_made(lake, recipe, f"{phase}_checkpoint"):
            _facts(console, f"{phase} phase", lake, recipe, f"{phase}_checkpoint", "loss")
    if _is_made(lake, recipe, "benchmark_results"):
        title = "Checkpoints (means; intervals in the scoreboard)"
        _print(console, title, query(warehouse, _SCORES))
    console.print(
        "\nGo on with:\n"
        "  make dev                  the graph, at http://localhost:3000\n"
        "  make mlflow               runs and models, at http://localhost:5000\n"
        '  make sql Q="select ..."   the quality tables; without Q, a prompt'
    )


def _is_made(lake: Lake, recipe: Recipe, asset: str) -> bool:
    return bool(shards.names(lake.pointers(recipe.name, asset)))


def _print(console: Console, title: str, answer: Any) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2))
    for column in answer.columns:
        is_number = any(
            isinstance(row[answer.columns.index(column)], int | float) for row in answer.rows
        )
        table.add_column(column, justify="right" if is_number else "left")
    for row in answer.rows:
        table.add_row(*(_shown(value) for value in row))
    console.print()
    console.print(table)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _facts(console: Console, title: str, lake: Lake, recipe: Recipe, asset: str, word: str) -> None:
    """The facts of a manifest whose name holds a word, on one line."""
    facts = shards.manifest(upstream(lake, recipe, asset).folder).facts
    told = [f"{name} {value:.3f}" for name, value in _named(facts) if word in name]
    console.print(f"\n[bold]{title}[/bold]  " + ", ".join(told), soft_wrap=True)


def _named(facts: Any, prefix: Sequence[str] = ()) -> list[tuple[str, float]]:
    if isinstance(facts, dict):
        return [
            pair for name, value in facts.items() for pair in _named(value, (*prefix, str(name)))
        ]
    if isinstance(facts, float) and not isinstance(facts, bool):
        return [(" ".join(prefix), facts)]
    return []
