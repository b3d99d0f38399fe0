"""Dagster metadata of an experiment: its comparisons as a table, its arms as a dot plot."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from snow_assets.corpus.benchmarks import benchmark_named
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


def correlations_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table of ANNOTATOR_CORRELATION rows; positive: a higher AUC, a better model."""
    lines = [
        "| AUC | language | Spearman's correlation | 95 % interval | annotators | seeds |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        interval = "-" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}"
        lines.append(
            f"| {row['gate']} | {row['language'] or 'all'} | {row['spearman']:+.2f} | {interval} | "
            f"{row['num_arms']} | {row['num_seeds']} |"
        )
    return "\n".join(lines)


def annotators_table(
    experiment: ExperimentRecipe, results: pl.DataFrame, annotators: pl.DataFrame
) -> str:
    """Markdown table of `annotator_arms`: mean AUCs in the benchmark's language, and bits per byte,
    over the seeds."""
    annotators = _of_benchmark_language(experiment, annotators)
    means = (
        annotators.join(_solution_bits(experiment, results), on=["arm", "seed"])
        .group_by("arm", "gate")
        .agg(pl.mean("auc", "bits_per_byte"))
    )
    gates = annotators["gate"].unique(maintain_order=True).to_list()
    lines = [f"| arm | {' | '.join(gates)} | bits per byte |", "|---" * (len(gates) + 2) + "|"]
    for arm in experiment.annotator_arms:
        rows = {row["gate"]: row for row in means.filter(arm=arm).iter_rows(named=True)}
        aucs = [rows[gate]["auc"] if gate in rows else None for gate in gates]
        cells = ["-" if auc is None else f"{auc:.3f}" for auc in aucs]
        bits = next((f"{row['bits_per_byte']:.4f}" for row in rows.values()), "-")
        lines.append(f"| {arm} | {' | '.join(cells)} | {bits} |")
    return "\n".join(lines)


def annotators_plot(
    experiment: ExperimentRecipe, results: pl.DataFrame, annotators: pl.DataFrame
) -> Plot:
    """Bits per byte of each of `annotator_arms` against its annotator's AUCs in the benchmark's
    language; a dot per seed."""
    annotators = _of_benchmark_language(experiment, annotators)
    gates = annotators["gate"].unique(maintain_order=True).to_list()
    points = annotators.join(_solution_bits(experiment, results), on=["arm", "seed"])
    figure = new_figure(4 * len(gates) + 2, 4)
    for axes, gate in zip(
        figure.subplots(1, len(gates), sharey=True, squeeze=False)[0], gates, strict=True
    ):
        for arm in experiment.annotator_arms:
            own = points.filter(pl.col("arm") == arm, pl.col("gate") == gate)
            axes.plot(own["auc"], own["bits_per_byte"], "o", alpha=0.6, label=arm)
        axes.set_title(f"AUC, {gate}", fontsize=9)
        axes.set_xlabel("AUC of the annotator", fontsize=8)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("bits per byte of solutions (less is better)", fontsize=8)
    figure.axes[-1].legend(fontsize=7)
    return as_plot(figure, f"{experiment.name}: annotators and the models that they select for")


def _of_benchmark_language(experiment: ExperimentRecipe, annotators: pl.DataFrame) -> pl.DataFrame:
    return annotators.filter(language=benchmark_named(experiment.benchmark).language)


def _solution_bits(experiment: ExperimentRecipe, results: pl.DataFrame) -> pl.DataFrame:
    return results.filter(
        pl.col("benchmark") == experiment.benchmark, pl.col("subset") == TEST_HALF
    ).select("arm", "seed", "bits_per_byte")


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
