"""The order of training: whole passes, an even mix, each sequence once."""

from itertools import pairwise

from snow_assets.pretraining.ordering import training_order

PASSES = {"c": [100, 100, 20], "python": [300, 300, 60]}


def test_each_sequence_comes_once() -> None:
    order = training_order(PASSES, phase="general", seed=0)
    assert sorted(order.tolist()) == list(range(880))


def test_the_order_is_a_function_of_phase_and_seed() -> None:
    order = training_order(PASSES, phase="general", seed=0).tolist()
    assert order == training_order(PASSES, phase="general", seed=0).tolist()
    assert order != training_order(PASSES, phase="continued", seed=0).tolist()
    assert order != training_order(PASSES, phase="general", seed=1).tolist()


def test_a_languages_passes_follow_one_another_each_shuffled() -> None:
    order = training_order(PASSES, phase="general", seed=0)
    c = [number for number in order.tolist() if number < 220]
    assert all(number < 100 for number in c[:100])
    assert all(100 <= number < 200 for number in c[100:200])
    assert sum(second == first + 1 for first, second in pairwise(c)) < 20


def test_every_tenth_of_the_phase_has_the_languages_in_proportion() -> None:
    order = training_order(PASSES, phase="general", seed=0).tolist()
    for begin in range(0, 880, 88):
        part = order[begin : begin + 88]
        assert 18 <= sum(number < 220 for number in part) <= 26
