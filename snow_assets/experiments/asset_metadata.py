"""Dagster metadata of an experiment: its comparisons as a table, its arms as a dot plot."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from snow_assets.evaluation.problems import TEST_HALF
from snow_assets.evaluation.results import HELD_OUT
from snow_assets.plots import Plot, as_plot, new_figure
from snow_assets.recipe.experiments import ExperimentRecipe


def comparisons_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table of COMPARISON rows; a negative difference is fewer bits, which is better."""
    lines = [
        "| arm | baseline | bits per byte | 95 % interval | seeds | texts | outcome |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        control = " (control)" if row["is_control"] else ""
        lines.append(
            f"| {row['arm']} | {row['baseline']}{control} | {row['difference']:+.4f} | "
            f"{row['low']:+.4f} to {row['high']:+.4f} | {row['num_seeds']} | {row['num_texts']} | "
            f"{row['outcome']} |"
        )
    noise, smallest = rows[0]["noise"], rows[0]["min_difference"]
    lines += [
        "",
        f"Two draws of one arm differ by {noise:.4f}; up to {smallest:g} no difference matters.",
    ]
    return "\n".join(lines)


def arms_plot(experiment: ExperimentRecipe, results: pl.DataFrame) -> Plot:
    """Bits per byte of each arm on canonical solutions and held-out code; a dot per seed."""
    panels = [
        (
            experiment.benchmark,
            TEST_HALF,
            f"{experiment.benchmark}: canonical solutions, test half",
        ),
        *(
            (HELD_OUT, subset, f"held-out {subset}")
            for subset in results.filter(pl.col("benchmark") == HELD_OUT)["subset"].unique().sort()
        ),
    ]
    names = [arm.name for arm in experiment.arms][::-1]
    figure = new_figure(4 * len(panels) + 2, 1.2 + 0.32 * len(names))
    for axes, (benchmark, subset, title) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        rows = results.filter(pl.col("benchmark") == benchmark, pl.col("subset") == subset)
        for position, name in enumerate(names):
            values = rows.filter(pl.col("arm") == name)["bits_per_byte"]
            axes.plot(values, [position] * len(values), "o", color="tab:blue", alpha=0.5)
            axes.plot([values.mean()], [position], "|", color="black", markersize=14)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("bits per byte (less is better)", fontsize=8)
        axes.grid(axis="x", alpha=0.3)
    return as_plot(figure, f"{experiment.name}: a dot per seed, a bar at the mean")
