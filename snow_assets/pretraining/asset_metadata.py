"""Dagster metadata of a phase: a table and plots."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snow_assets import markdown
from snow_assets.plots import (
    Plot,
    as_plot,
    categorical_colors,
    legend_outside,
    new_figure,
    token_formatter,
)
from snow_assets.pretraining.contract import VALIDATION_PREFIX

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def language_table(languages: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of a phase's documents, tokens and passes by language."""
    names = ["documents", "unique_tokens", "tokens"]
    rows = [
        (language, *(entry[name] for name in names), round(entry["passes"], 2))
        for language, entry in sorted(languages.items())
    ]
    return markdown.table(["language", "documents", "unique tokens", "tokens", "passes"], rows)


MetricsByStep = Sequence[Mapping[str, Any]]


def loss_curve(phases: Mapping[str, MetricsByStep], *, title: str) -> Plot:
    """The plot of `loss_figure`."""
    return as_plot(loss_figure(phases), title)


def loss_figure(phases: Mapping[str, MetricsByStep]) -> "Figure":
    """Training loss, learning rate and, where it was measured, validation loss over the trained
    tokens of the phases, in their order; dashed lines are the phases' borders.
    """
    entries = _chained(phases)
    languages = sorted(
        {name for entry in entries for name in entry if name.startswith(VALIDATION_PREFIX)}
    )
    heights = [3, 2, 1] if languages else [3, 1]
    figure = new_figure(8, 0.9 + 0.85 * sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for phase in phases:
        own = [entry for entry in entries if entry["phase"] == phase]
        _plot_metric(panels[0], own, "loss_bits", label=phase)
        _plot_metric(panels[-1], own, "learning_rate", color="tab:gray")
        if own and own[0] is not entries[0]:
            for axes in panels:
                axes.axvline(own[0]["start_tokens"], color="black", linewidth=0.8, linestyle="--")
    colors = categorical_colors()
    for index, name in enumerate(languages):
        label = name.removeprefix(VALIDATION_PREFIX)
        measured = [entry for entry in entries if name in entry]
        _plot_metric(
            panels[1], measured, name, label=label, color=colors[index % 20], marker=".", ms=3
        )
    panels[0].set_ylabel("bits per token")
    panels[-1].set_ylabel("learning rate")
    panels[-1].set_xlabel("tokens")
    panels[-1].xaxis.set_major_formatter(token_formatter())
    if len(phases) > 1:
        legend_outside(panels[0], title="phase")
    if languages:
        panels[1].set_ylabel("validation\nbits per byte")
        legend_outside(panels[1], ncols=1 + len(languages) // 9)
    return figure


def _chained(phases: Mapping[str, MetricsByStep]) -> list[dict[str, Any]]:
    """The entries of all phases, `tokens` counted from the first phase's start."""
    entries, start_tokens = [], 0.0
    for phase, metrics in phases.items():
        entries += [
            {
                **entry,
                "phase": phase,
                "start_tokens": start_tokens,
                "tokens": start_tokens + entry["tokens"],
            }
            for entry in metrics
        ]
        start_tokens = entries[-1]["tokens"] if entries else 0.0
    return entries


def _plot_metric(
    axes: Any, entries: Sequence[Mapping[str, Any]], name: str, **options: Any
) -> None:
    tokens = [entry["tokens"] for entry in entries]
    # A skipped step has no loss if it was not finite.
    values = [entry.get(name, math.nan) for entry in entries]
    axes.plot(tokens, values, linewidth=1, **options)
