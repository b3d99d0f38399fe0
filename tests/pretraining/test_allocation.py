"""Dividing a budget among languages."""

import pytest

from snow_assets.pretraining.allocation import allocate_sequences


def test_every_sequence_is_given_and_remainders_decide_the_last() -> None:
    tokens = {"c": 1_000, "python": 5_050, "sql": 3_950}
    found = allocate_sequences(
        tokens, sequences=7, max_seq_len=100, python_fraction=None, python_shortfall="refuse"
    )
    assert dict(found.sequences) == {"c": 1, "python": 3, "sql": 3}


def test_equal_remainders_go_by_name() -> None:
    found = allocate_sequences(
        {"b": 900, "a": 900},
        sequences=3,
        max_seq_len=100,
        python_fraction=None,
        python_shortfall="refuse",
    )
    assert dict(found.sequences) == {"a": 2, "b": 1}


def test_no_language_gets_more_than_its_tokens_fill() -> None:
    tokens = {"c": 190, "python": 900, "sql": 190}
    found = allocate_sequences(
        tokens, sequences=11, max_seq_len=100, python_fraction=None, python_shortfall="refuse"
    )
    assert dict(found.sequences) == {"c": 1, "python": 9, "sql": 1}


def test_python_takes_its_share_and_the_others_keep_their_proportions() -> None:
    tokens = {"c": 20_000, "python": 20_000, "sql": 60_000}
    found = allocate_sequences(
        tokens, sequences=80, max_seq_len=100, python_fraction=0.5, python_shortfall="refuse"
    )
    assert dict(found.sequences) == {"c": 10, "python": 40, "sql": 30}
    assert found.note is None
    assert found.python_fraction == 0.5


def test_a_budget_beyond_all_data_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"1050 tokens.*fill 10 sequences.*needs 11.*max_passes"):
        allocate_sequences(
            {"python": 1_050},
            sequences=11,
            max_seq_len=100,
            python_fraction=None,
            python_shortfall="refuse",
        )


@pytest.mark.parametrize(
    ("tokens", "expected", "short"),
    [
        ({"c": 2_000, "python": 300}, {"c": 7, "python": 3}, "python"),
        ({"c": 200, "python": 2_000}, {"c": 2, "python": 8}, "the other languages"),
        ({"c": 2_000}, {"c": 10}, "python"),
        ({"python": 2_000}, {"python": 10}, "the other languages"),
    ],
)
def test_a_side_that_is_short_is_filled_by_the_other_on_record_or_refused(
    tokens: dict[str, int], expected: dict[str, int], short: str
) -> None:
    found = allocate_sequences(
        tokens, sequences=10, max_seq_len=100, python_fraction=0.5, python_shortfall="fill"
    )
    assert dict(found.sequences) == expected
    assert found.note is not None
    assert f"because {short} offered too little" in found.note
    with pytest.raises(ValueError, match=f"because {short} offered too little"):
        allocate_sequences(
            tokens, sequences=10, max_seq_len=100, python_fraction=0.5, python_shortfall="refuse"
        )
