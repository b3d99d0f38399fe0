"""Dagster metadata of the quality assets: Markdown tables and plots."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow.compute as pc

from snow_assets import markdown
from snow_assets.plots import Plot, as_plot, legend_outside, new_figure
from snow_assets.quality import gate, scores, selection
from snow_assets.quality.auc import roc_curve
from snow_assets.quality.contract import Annotator, Gate, GradeGate
from snow_assets.storage import shards

_COLORS = {  # by role, in both plots
    gate.RANDOM: "tab:gray",
    gate.POSITIVE: "tab:blue",
    gate.VALIDATION_SOLUTION: "tab:orange",
    gate.TEST_SOLUTION: "tab:green",
}
_MAX_POINTS = 400  # of a plotted curve


def counts_table(stats: Mapping[str, Any]) -> str:
    """Markdown table of manifest stats."""
    return markdown.table(["what", "value"], [(name, value) for name, value in stats.items()])


def gates_table(annotator: Annotator) -> str:
    """Markdown tables of gates with interval, minimum and result; the second one of grades."""
    tables = [_auc_table(annotator.gates)]
    if annotator.grade_gates:
        tables.append(_rank_correlations_table(annotator.grade_gates))
    return "\n\n".join(tables)


def _rank_correlations_table(measured: Sequence[GradeGate]) -> str:
    header = ["language", "graders", "texts", "rank correlation", "95 % interval"]
    rows = [
        (
            gate_result.language or "all",
            gate_result.graders,
            gate_result.num_texts,
            _number(gate_result.rank_correlation),
            f"{_number(gate_result.low)} to {_number(gate_result.high)}",
            gate_result.minimum,
            "passed" if gate_result.passed else "FAILED",
        )
        for gate_result in measured
    ]
    return markdown.table([*header, "minimum of the lower bound", "result"], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _auc_table(measured: Sequence[Gate]) -> str:
    rows = []
    for gate_result in measured:
        auc = "-" if gate_result.auc is None else f"{gate_result.auc:.3f}"
        interval = (
            "-" if gate_result.low is None else f"{gate_result.low:.3f} to {gate_result.high:.3f}"
        )
        result = (
            "reported"
            if gate_result.minimum is None
            else ("passed" if gate_result.passed else "FAILED")
        )
        minimum = "-" if gate_result.minimum is None else gate_result.minimum
        texts = f"{gate_result.num_positives} / {gate_result.num_negatives}"
        language = gate_result.language or "all"
        rows.append((gate_result.name, language, auc, interval, minimum, result, texts))
    header = ["gate", "language", "AUC", "95 % interval", "minimum of the lower bound", "result"]
    return markdown.table([*header, "positives / negatives"], rows)


def separation_plot(annotator_folder: str) -> Plot:
    """ROC curves against unseen random files, and the distribution of logits by role."""
    table = shards.read_shard(annotator_folder, shards.table_name(gate.VALIDATION, 0))
    logits = {
        role: table.filter(pc.equal(table["role"], role))["logit"].to_numpy()
        for role in (gate.RANDOM, gate.POSITIVE, gate.VALIDATION_SOLUTION, gate.TEST_SOLUTION)
    }
    figure = new_figure(10, 3.6)
    roc_axes, logit_axes = figure.subplots(1, 2)
    for role, role_logits in logits.items():
        if len(role_logits):
            color = _COLORS[role]
            logit_axes.hist(
                role_logits, bins=30, density=True, histtype="step", label=role, color=color
            )
        if role != gate.RANDOM and len(role_logits):
            roc_axes.plot(
                *roc_curve(role_logits, logits[gate.RANDOM]), label=role, color=_COLORS[role]
            )
    roc_axes.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
    roc_axes.set_xlabel("random files above the threshold")
    roc_axes.set_ylabel("files of the kind above it")
    logit_axes.set_xlabel("logit")
    logit_axes.set_ylabel("density")
    legend_outside(logit_axes)
    return as_plot(figure, "Held-out files of each kind against random files: ROC and logits")


def score_histogram(scores_folder: str) -> Plot:
    """Histogram of a language's logits by number of windows."""
    columns = ["logit", "num_windows"]
    table = shards.read_unfinished(scores_folder, scores.TABLE, columns=columns)
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    windows = table["num_windows"].to_numpy()
    parts = {count: table["logit"].to_numpy()[windows == count] for count in (1, 2, 3)}
    axes.hist(
        list(parts.values()), bins=40, stacked=True, label=[f"{count} windows" for count in parts]
    )
    axes.set_xlabel("logit")
    axes.set_ylabel("texts")
    legend_outside(axes)
    return as_plot(figure, "Scores of the language's texts, by windows read")


def selection_curve(subset_folder: str) -> Plot:
    """Plot of logit and repeats over the percentile. Memory: these columns of a shard."""
    points = _curve_points(subset_folder)
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    axes.plot(points["percentile"], points["logit"])
    axes.set_xlabel("percentile of the language's tokens")
    axes.set_ylabel("logit")
    repeats = axes.twinx()
    repeats.step(points["percentile"], points["repeats"], color="tab:orange", where="post")
    repeats.set_ylabel("repeats", color="tab:orange")
    return as_plot(figure, "Logit and repeats, from the best document to the worst")


def _curve_points(subset_folder: str) -> pl.DataFrame:
    """Some documents in the order of their ranks, and all where `repeats` changes."""
    entries = shards.records(subset_folder, selection.TABLE)
    step = max(1, entries.total("num_rows") // _MAX_POINTS)
    tables = shards.read_shards(subset_folder, entries, columns=["percentile", "logit", "repeats"])
    is_point = pl.int_range(pl.len()) % step == 0
    is_change = pl.col("repeats") != pl.col("repeats").shift(1)
    return pl.concat(pl.DataFrame(table).filter(is_point | is_change) for table in tables)


def best_documents(subset_folder: str, *, rows: int) -> str:
    """Markdown table of the highest-ranked documents. Memory: these columns of a shard."""
    columns = ["repository", "num_tokens", "logit", "percentile", "repeats", "document_id"]
    best = shards.read_shard(
        subset_folder, shards.table_name(selection.TABLE, 0), columns=columns
    ).slice(0, rows)
    table_rows = [
        (
            row["repository"],
            row["num_tokens"],
            f"{row['logit']:.3f}",
            f"{row['percentile']:.4f}",
            row["repeats"],
            row["document_id"][:12],
        )
        for row in best.to_pylist()
    ]
    return markdown.table(columns, table_rows)
