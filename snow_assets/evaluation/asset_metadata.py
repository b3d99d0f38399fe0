"""Dagster metadata of a checkpoint's results: a table and a plot."""

from collections.abc import Sequence
from typing import Any

from snow_assets.evaluation.contract import CompletionReport
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


def generation_speed(reports: Sequence[CompletionReport]) -> str:
    """Throughput of the generation job's pods as a sentence."""
    num_completions = sum(report.num_completions for report in reports)
    if not num_completions:
        return "every part was there already"
    start_seconds = max(report.start_seconds for report in reports)
    seconds = max(report.seconds for report in reports)
    num_queried = sum(report.num_queried_prefix_tokens for report in reports)
    share = sum(report.num_cached_prefix_tokens for report in reports) / max(1, num_queried)
    return (
        f"{num_completions} completions in {seconds:.0f} s, after {start_seconds:.0f} s for the "
        f"engine's start; {share:.0%} of the prompts' tokens were in the prefix cache"
    )
