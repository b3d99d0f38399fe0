"""Dagster metadata of a phase: a table and a plot."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets.plots import Plot, as_plot, new_figure


def language_table(languages: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of a phase's documents, tokens and passes by language."""
    lines = [
        "| language | documents | unique tokens | tokens | passes |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {entry['documents']:,} | {entry['unique_tokens']:,} "
        f"| {entry['tokens']:,} | {entry['passes']:.2f} |"
        for name, entry in sorted(languages.items())
    ]
    return "\n".join(lines)


def loss_curve(metrics: Sequence[Mapping[str, Any]]) -> Plot:
    """Plot of the training loss (bits per token) and the learning rate over trained tokens."""
    figure = new_figure(8, 4.2)
    loss_axes, rate_axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    tokens = [entry["tokens"] for entry in metrics]
    # A skipped step has no loss if it was not finite.
    losses = [entry.get("loss_bits", math.nan) for entry in metrics]
    loss_axes.plot(tokens, losses, linewidth=1)
    rate_axes.plot(
        tokens, [entry["learning_rate"] for entry in metrics], color="tab:gray", linewidth=1
    )
    loss_axes.set_ylabel("bits per token")
    rate_axes.set_ylabel("learning rate")
    rate_axes.set_xlabel("tokens")
    return as_plot(figure, "Training loss and learning rate")
