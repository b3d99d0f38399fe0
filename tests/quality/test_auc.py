import numpy as np
import pytest

from snow_assets.quality.auc import roc_auc, roc_curve


def test_the_area_is_the_share_of_pairs_in_order_with_ties_as_half() -> None:
    positives, negatives = [3.0, 2.0, 2.0, 0.0], [2.0, 1.0, 0.0]
    pairs = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert roc_auc(positives, negatives).auc == pytest.approx(np.mean(pairs))


def test_the_interval_is_the_one_that_delongs_formula_gives_pair_by_pair() -> None:
    chance = np.random.default_rng(0)
    positives, negatives = chance.normal(1, 1, 40), chance.normal(0, 1, 60)
    wins = (positives[:, None] > negatives) + (positives[:, None] == negatives) / 2
    variance = wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 60
    found = roc_auc(positives.tolist(), negatives.tolist())
    assert found.auc - found.low == pytest.approx(1.959964 * variance**0.5)
    assert found.high - found.auc == pytest.approx(1.959964 * variance**0.5)


def test_about_95_percent_of_intervals_hold_the_true_area() -> None:
    chance = np.random.default_rng(1)
    true = 0.760250  # of two normal distributions a standard deviation apart
    hits = 0
    for _ in range(400):
        found = roc_auc(chance.normal(1, 1, 60).tolist(), chance.normal(0, 1, 60).tolist())
        hits += found.low <= true <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_few_perfectly_separated_texts_do_not_make_a_certain_area() -> None:
    assert roc_auc([2.0] * 10, [1.0] * 10).low == pytest.approx(0.7)


def test_an_area_of_too_few_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="not 1 and 5"):
        roc_auc([1.0], [0.0] * 5)


def test_a_curve_goes_from_corner_to_corner_and_holds_the_area() -> None:
    positives, negatives = [3.0, 2.0, 2.0, 0.0], [2.0, 1.0, 0.0]
    false, true = roc_curve(positives, negatives)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc(positives, negatives).auc)
