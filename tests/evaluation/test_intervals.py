"""Intervals that hold what they promise."""

import itertools
import math

import numpy as np
import pytest

from snow_assets.evaluation.intervals import (
    Bootstrap,
    bits_per_byte,
)
from snow_assets.evaluation.pass_at_k import pass_at_1, pass_at_k, problem_pass_at_k

BOOTSTRAP = Bootstrap(resamples=400, min_repositories=10, seed=0)


def test_bits_per_byte_are_all_nats_over_all_bytes() -> None:
    found = bits_per_byte([math.log(2) * 8, 0.0], [1, 3], [None, None], bootstrap=BOOTSTRAP)
    assert found.value == pytest.approx(2.0)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        sizes = generator.integers(50, 150, size=60)
        nats = sizes * generator.normal(1.0, 0.3, size=60)
        found = bits_per_byte(list(nats), list(sizes), [None] * 60, bootstrap=BOOTSTRAP)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1 / math.log(2) <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_repositories_are_resampled_as_wholes_where_there_are_enough() -> None:
    nats = [float(repository) for repository in range(12) for _ in range(20)]
    groups: list[str | None] = [f"r{repository}" for repository in range(12) for _ in range(20)]
    by_repository = bits_per_byte(nats, [10] * 240, groups, bootstrap=BOOTSTRAP)
    by_sample = bits_per_byte(nats, [10] * 240, [None] * 240, bootstrap=BOOTSTRAP)
    assert by_repository.note == "bootstrap over 12 repositories"
    assert by_sample.note == "bootstrap over 240 samples"
    assert by_repository.high is not None
    assert by_repository.low is not None
    assert by_sample.high is not None
    assert by_sample.low is not None
    assert by_repository.high - by_repository.low > 3 * (by_sample.high - by_sample.low)


def test_too_few_repositories_are_named() -> None:
    found = bits_per_byte([1.0, 2.0, 3.0], [9, 9, 9], ["a", "a", "b"], bootstrap=BOOTSTRAP)
    assert found.note == "bootstrap over 3 samples of 2 repositories, too few to resample"


def test_one_sample_has_a_value_and_no_interval() -> None:
    found = bits_per_byte([1.0], [9], ["a"], bootstrap=BOOTSTRAP)
    assert (found.low, found.high, found.num_samples) == (None, None, 1)


def test_no_samples_and_empty_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        bits_per_byte([], [], [], bootstrap=BOOTSTRAP)
    with pytest.raises(ValueError, match="0 bytes"):
        bits_per_byte([1.0], [0], [None], bootstrap=BOOTSTRAP)


@pytest.mark.parametrize(
    ("passed", "problems", "low", "high"),
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(
    passed: int, problems: int, low: float, high: float
) -> None:
    found = pass_at_1(passed, problems)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert found.value == passed / problems


def test_a_share_of_no_problems_is_refused() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        pass_at_1(0, 0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pass_at_k_is_the_share_of_draws_with_a_passing_sample(k: int) -> None:
    samples = [True, False, False, True, False]
    draws = list(itertools.combinations(samples, k))
    expected = sum(any(draw) for draw in draws) / len(draws)
    assert problem_pass_at_k(2, num_samples=5, k=k) == pytest.approx(expected)


def test_pass_at_1_of_one_sample_each_is_greedy_pass_at_1() -> None:
    assert pass_at_k([1, 0, 1, 1], num_samples=1, k=1) == pass_at_1(3, 4)


def test_the_interval_of_pass_at_k_holds_the_truth_at_least_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    num_held, num_rounds = 0, 300
    for _ in range(num_rounds):
        rates = generator.beta(0.5, 2.0, size=80)  # of a problem's samples that pass; mean 0.2
        passed = generator.binomial(10, rates).tolist()
        estimate = pass_at_k(passed, num_samples=10, k=1)
        assert estimate.low is not None and estimate.high is not None
        num_held += estimate.low <= 0.2 <= estimate.high
    assert num_held >= 0.95 * num_rounds


def test_more_samples_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="there is no pass@5"):
        problem_pass_at_k(1, num_samples=4, k=5)
