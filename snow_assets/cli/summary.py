"""The one screen that `make demo` ends with: what went in, what came out, where to look next."""

import os
from collections.abc import Mapping

from rich.console import Console

from snow_assets.defs.evaluation import benchmark_results
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.pretraining import CHECKPOINTS
from snow_assets.defs.quality import selecting_stages
from snow_assets.defs.selection import high_quality_subset
from snow_assets.defs.synthesis import synthetic_set
from snow_assets.recipe import Recipe
from snow_assets.stages import Stage
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.publishing import literal
from snow_resources.sql import terminal_table
from snow_resources.warehouse import QueryResult, query

_FUNNEL = """
select stage, coalesce(reason, outcome) as what, sum(num_documents)::bigint as documents
from curation_funnel where outcome <> 'in' and recipe = {recipe}
group by all order by min(stage_order), max(outcome) desc, documents desc
"""
_SELECTED = """
select language,
    coalesce(sum(num_tokens) filter (where repeats > 0), 0)::bigint as selected_tokens,
    sum(num_tokens)::bigint as of_tokens, max(repeats) as repeats,
    sum(num_trained_tokens)::bigint as trained_tokens
from selection_by_language where recipe = {recipe} group by language order by language
"""
_SYNTHETIC = """
select coalesce(reason, outcome) as what, sum(num_documents)::bigint as files
from synthetic_yield where recipe = {recipe} group by all order by files desc
"""
_SCORES = """
select replace(checkpoint, '_checkpoint', '') as checkpoint,
    max(phase_tokens) as trained_tokens,
    benchmark,
    avg(value) filter (where metric like '%bits_per_byte') as bits_per_byte,
    avg(value) filter (where metric = 'pass_at_1') as pass_at_1
from checkpoint_scoreboard
where recipe = {recipe} and subset in ('all', 'validation_half', 'test_half') group by all
order by trained_tokens desc, benchmark
"""


def show(console: Console, lake: Lake, recipe: Recipe, warehouse: str) -> None:
    """Print the screen; every figure comes from the published tables or a manifest."""
    _print(console, "What became of the files", _ask(warehouse, _FUNNEL, recipe))
    if _is_materialized(lake, recipe, selecting_stages(recipe).annotator):
        _print(console, "Annotator", _areas(lake, recipe))
    if _is_materialized(lake, recipe, high_quality_subset):
        _print(console, "Selected, per language", _ask(warehouse, _SELECTED, recipe))
    if _is_materialized(lake, recipe, synthetic_set):
        _print(console, "Synthetic files", _ask(warehouse, _SYNTHETIC, recipe))
    trained = {
        phase: checkpoint
        for phase, checkpoint in CHECKPOINTS.items()
        if _is_materialized(lake, recipe, checkpoint)
    }
    if trained:
        _print(console, "Loss", _losses(lake, recipe, trained))
    if _is_materialized(lake, recipe, benchmark_results):
        title = "Checkpoints (means; intervals in the scoreboard)"
        _print(console, title, _ask(warehouse, _SCORES, recipe))
    mlflow_port = os.environ.get("MLFLOW_PORT", "5000")
    console.print(
        "\nGo on with:\n"
        "  make dev                  the graph, at http://localhost:3000,\n"
        f"                            runs and models, at http://localhost:{mlflow_port}\n"
        '  make sql Q="select ..."   the quality tables; without Q, a prompt'
    )


def _ask(warehouse: str, sql: str, recipe: Recipe) -> QueryResult:
    """The recipe's rows of a table that holds all recipes'."""
    return query(warehouse, sql.format(recipe=literal(recipe.name)))


def _is_materialized(lake: Lake, recipe: Recipe, stage: Stage) -> bool:
    return bool(shards.names(lake.pointers(recipe.name, stage.name)))


def _print(console: Console, title: str, answer: QueryResult) -> None:
    console.print()
    console.print(terminal_table(answer.columns, answer.rows, title=title))


def _areas(lake: Lake, recipe: Recipe) -> QueryResult:
    """Each AUC of the annotator that selects, with its 95 % interval."""
    annotator = current_artifact(lake, recipe, selecting_stages(recipe).annotator.name)
    stats = shards.manifest(annotator.folder).stats
    names = [name for name in stats if name.endswith("_auc")]
    rows = [(name, stats[name], stats[f"{name}_low"], stats[f"{name}_high"]) for name in names]
    return QueryResult(columns=["measure", "auc", "low", "high"], rows=rows, is_truncated=False)


def _losses(lake: Lake, recipe: Recipe, checkpoints: Mapping[str, Stage]) -> QueryResult:
    """The training loss at a phase's first and last step, in bits per token."""
    columns = ["first_loss_bits", "last_loss_bits"]
    rows = []
    for phase, checkpoint in checkpoints.items():
        stats = shards.manifest(current_artifact(lake, recipe, checkpoint.name).folder).stats
        rows.append((phase, *(stats[name] for name in columns)))
    return QueryResult(columns=["phase", *columns], rows=rows, is_truncated=False)
