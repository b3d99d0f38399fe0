"""Whether the ranks of annotators' AUCs agree with those of the models."""

from dataclasses import replace

import numpy as np
import polars as pl

from snow_assets.evaluation.problems import TEST_HALF
from snow_assets.experiments.correlations import rank_correlation
from snow_assets.experiments.results import correlation_rows
from snow_assets.recipe.micro_experiments import PAPER_CLAIMS

ARMS = PAPER_CLAIMS.annotator_arms
SEEDS = PAPER_CLAIMS.seeds
EXPERIMENT = replace(PAPER_CLAIMS, bootstrap_resamples=2_000)


def measured(aucs: list[float], bits: list[float], *, noise: float = 0.0) -> pl.DataFrame:
    """A row per arm and seed, with noise of the seeds."""
    generator = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {
                "arm": arm,
                "seed": seed,
                "auc": auc,
                "bits_per_byte": value + noise * float(generator.normal()),
            }
            for arm, auc, value in zip(ARMS, aucs, bits, strict=True)
            for seed in SEEDS
        ]
    )


AUCS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def test_annotators_in_the_order_of_their_models_correlate_fully() -> None:
    better = rank_correlation(EXPERIMENT, measured(AUCS, [3.0, 2.9, 2.8, 2.7, 2.6, 2.5]))
    assert better is not None and better.low is not None
    assert better.value == 1.0
    assert better.low > 0.9
    worse = rank_correlation(EXPERIMENT, measured(AUCS, [2.5, 2.6, 2.7, 2.8, 2.9, 3.0]))
    assert worse is not None
    assert worse.value == -1.0


def test_unrelated_ranks_have_an_interval_around_zero() -> None:
    unrelated = rank_correlation(EXPERIMENT, measured(AUCS, [2.7, 2.9, 2.5, 3.0, 2.6, 2.8]))
    assert unrelated is not None and unrelated.low is not None and unrelated.high is not None
    assert unrelated.low < 0 < unrelated.high


def test_noise_of_the_seeds_widens_the_interval() -> None:
    bits = [3.0, 2.9, 2.8, 2.7, 2.6, 2.5]
    certain = rank_correlation(EXPERIMENT, measured(AUCS, bits))
    noisy = rank_correlation(EXPERIMENT, measured(AUCS, bits, noise=0.3))
    assert certain is not None and noisy is not None
    assert certain.low is not None and noisy.low is not None
    assert noisy.low < certain.low


def test_what_was_not_measured_or_does_not_differ_has_no_correlation() -> None:
    rows = measured(AUCS, [3.0] * 6)
    assert rank_correlation(EXPERIMENT, rows) is None
    assert rank_correlation(EXPERIMENT, measured(AUCS, AUCS).head(-1)) is None
    unmeasured = measured(AUCS, AUCS).with_columns(
        auc=pl.when(pl.col("arm") == ARMS[0]).then(None).otherwise("auc")
    )
    assert rank_correlation(EXPERIMENT, unmeasured) is None


def test_aucs_of_all_languages_and_of_the_benchmarks_stand_apart() -> None:
    rows = measured(AUCS, [3.0, 2.9, 2.8, 2.7, 2.6, 2.5])
    results = rows.select("arm", "seed", "bits_per_byte").with_columns(
        benchmark=pl.lit("HumanEval"), subset=pl.lit(TEST_HALF)
    )
    aucs = rows.select("arm", "seed", "auc").with_columns(gate=pl.lit("held_out"))
    annotators = pl.concat(
        [
            aucs.with_columns(language=pl.lit(None, pl.String)),
            aucs.with_columns(language=pl.lit("python"), auc=1 - pl.col("auc")),
            aucs.with_columns(language=pl.lit("c")),
        ]
    )
    correlated = correlation_rows(EXPERIMENT, results, annotators)
    assert [(row["language"], row["spearman"]) for row in correlated] == [
        (None, 1.0),
        ("python", -1.0),
    ]
    assert correlation_rows(replace(EXPERIMENT, annotator_arms=()), results, annotators) == []
