"""Tables of an experiment: what each arm scores, and the comparisons."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from snow_assets.evaluation.problems import TEST_HALF
from snow_assets.experiments.arms import ArmRun
from snow_assets.experiments.comparisons import Decision
from snow_assets.recipe.experiments import ExperimentRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import ARM_RESULT


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


def solution_texts(folder: str, benchmark: str) -> pl.DataFrame:
    """The canonical solutions of a benchmark's test half, as an arm scored them."""
    columns = ["benchmark", "subset", "sample_id", "num_bytes", "nats"]
    likelihoods = pl.DataFrame(shards.read(folder, "likelihoods", columns=columns))
    return likelihoods.filter(
        pl.col("benchmark") == benchmark, pl.col("subset") == TEST_HALF
    ).select("sample_id", "num_bytes", "nats")


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
