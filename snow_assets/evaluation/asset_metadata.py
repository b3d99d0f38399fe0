"""Dagster metadata of a checkpoint's results: a table and a plot."""

from collections.abc import Sequence
from typing import Any

from snow_assets.evaluation.results import BITS, SOLUTION_BITS
from snow_assets.plots import Plot, as_plot, new_figure


def results_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table of `results` rows."""
    lines = ["| metric | subset | value | 95 % interval | samples | note |", "|---" * 6 + "|"]
    for row in rows:
        value = "-" if row["value"] is None else f"{row['value']:.3f}"
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        note = (row["note"] or "").replace("|", "\\|").replace("\n", " ")
        lines.append(
            f"| {row['metric']} | {row['subset']} | {value} | {interval} | "
            f"{row['num_samples']} | {note} |"
        )
    return "\n".join(lines)


def bits_per_byte_plot(rows: Sequence[dict[str, Any]]) -> Plot:
    """Plot of bits per byte with 95 % confidence intervals."""
    metrics = (BITS, SOLUTION_BITS)
    plotted = [row for row in rows if row["value"] is not None and row["metric"] in metrics][::-1]
    figure = new_figure(8, 1.2 + 0.32 * len(plotted))
    axes = figure.add_subplot()
    for position, row in enumerate(plotted):
        low = row["value"] if row["low"] is None else row["low"]
        high = row["value"] if row["high"] is None else row["high"]
        axes.plot([low, high], [position, position], color="tab:blue", linewidth=2)
        axes.plot([row["value"]], [position], "o", color="tab:blue")
    axes.set_yticks(
        range(len(plotted)), [f"{row['benchmark']}: {row['subset']}" for row in plotted]
    )
    axes.set_xlabel("bits per byte, with 95 % interval (less is better)")
    axes.grid(axis="x", alpha=0.3)
    return as_plot(figure, "Bits per byte of held-out code and canonical solutions")
