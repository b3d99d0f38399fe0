"""Tables of an experiment: what each arm scores, and the comparisons."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.evaluation.problems import TEST_HALF
from snow_assets.experiments import correlations
from snow_assets.experiments.arms import ArmRun
from snow_assets.experiments.comparisons import Decision
from snow_assets.quality.contract import Annotator
from snow_assets.quality.gate import gate_rows
from snow_assets.recipe.experiments import ExperimentRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.experiments import ARM_ANNOTATOR, ARM_RESULT


def write(folder: str, run: ArmRun) -> dict[str, Any]:
    """Write table `arm_results` from the artifact's `likelihoods`; return the manifest's stats."""
    likelihoods = pl.DataFrame(shards.read_unfinished(folder, "likelihoods"))
    sums = (
        likelihoods.group_by("benchmark", "subset")
        .agg(pl.sum("nats", "num_bytes"), num_texts=pl.len())
        .sort("benchmark", "subset")
    )
    rows = [
        {
            "experiment": run.experiment.name,
            "arm": run.arm,
            "seed": run.seed,
            "benchmark": row["benchmark"],
            "subset": row["subset"],
            "bits_per_byte": row["nats"] / math.log(2) / row["num_bytes"],
            "num_texts": row["num_texts"],
        }
        for row in sums.to_dicts()
    ]
    shards.put_table(folder, "arm_results", 0, rows, ARM_RESULT)
    return {f"{row['benchmark']}.{row['subset']}": row["bits_per_byte"] for row in rows}


def write_annotator(folder: str, run: ArmRun, annotator: Annotator | None) -> None:
    """Write table `arm_annotators`: the AUCs of the annotator's gates; empty without one."""
    gates = [] if annotator is None else gate_rows(annotator)
    rows = [
        {
            "experiment": run.experiment.name,
            "arm": run.arm,
            "seed": run.seed,
            **{name: row[name] for name in ARM_ANNOTATOR.names[3:]},
        }
        for row in gates
    ]
    shards.put_table(folder, "arm_annotators", 0, rows, ARM_ANNOTATOR)


def correlation_rows(
    experiment: ExperimentRecipe, results: pl.DataFrame, annotators: pl.DataFrame
) -> list[dict[str, Any]]:
    """ANNOTATOR_CORRELATION rows; none if the experiment has no `annotator_arms`.

    One for each gate of all languages together, and one for each of the benchmark's language:
    documents are selected within a language. `results` and `annotators` are ARM_RESULT and
    ARM_ANNOTATOR rows of all arms.
    """
    bits = results.filter(
        pl.col("benchmark") == experiment.benchmark, pl.col("subset") == TEST_HALF
    )
    rows = []
    for language in (None, benchmark_named(experiment.benchmark).language):
        own = annotators.filter(pl.col("language").eq_missing(language))
        for gate in own["gate"].unique(maintain_order=True) if experiment.annotator_arms else ():
            measured = own.filter(pl.col("gate") == gate).join(bits, on=["arm", "seed"])
            correlation = correlations.rank_correlation(experiment, measured)
            if correlation is not None:
                rows.append(
                    {
                        "experiment": experiment.name,
                        "gate": gate,
                        "language": language,
                        "benchmark": experiment.benchmark,
                        "subset": TEST_HALF,
                        "spearman": correlation.value,
                        "low": correlation.low,
                        "high": correlation.high,
                        "num_arms": len(experiment.annotator_arms),
                        "num_seeds": len(experiment.seeds),
                    }
                )
    return rows


def solution_texts(folder: str, benchmark: str) -> pl.DataFrame:
    """The canonical solutions of a benchmark's test half, as an arm scored them.

    ValueError for a benchmark that publishes none.
    """
    columns = ["benchmark", "subset", "sample_id", "num_bytes", "nats"]
    likelihoods = pl.DataFrame(shards.read(folder, "likelihoods", columns=columns))
    own = likelihoods.filter(pl.col("benchmark") == benchmark, pl.col("subset") == TEST_HALF)
    if own["num_bytes"].sum() == 0 and own.height:
        raise ValueError(
            f"{benchmark} publishes no canonical solutions, whose bits per byte decide an "
            "experiment: name another benchmark in it"
        )
    return own.select("sample_id", "num_bytes", "nats")


def comparison_rows(
    experiment: ExperimentRecipe, decisions: Sequence[Decision]
) -> list[dict[str, Any]]:
    """COMPARISON rows; the control's is the first."""
    return [
        {
            "experiment": experiment.name,
            "arm": decision.difference.comparison.arm,
            "baseline": decision.difference.comparison.baseline,
            "is_control": decision.difference.comparison == experiment.control,
            "benchmark": experiment.benchmark,
            "subset": TEST_HALF,
            "difference": decision.difference.value,
            "low": decision.difference.low,
            "high": decision.difference.high,
            "num_seeds": len(experiment.seeds),
            "num_texts": decision.difference.num_texts,
            "noise": decision.noise,
            "min_difference": experiment.min_difference,
            "outcome": decision.outcome,
        }
        for decision in decisions
    ]
