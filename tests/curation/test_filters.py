from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from snow_assets.curation.filters.heuristics import filter_reason
from snow_assets.curation.filters.signals import signals
from snow_assets.recipe import STARCODER2_FILTERS

GOOD = {
    name: values[0]
    for name, values in signals(
        pa.array(["def add(one, other):\n    return one + other\n"]),
        paths=pa.array(["a.py"]),
        languages=["python"],
        with_parses=True,
    ).items()
}


def reason(language: str = "python", **changed: Any) -> str | None:
    document = pl.DataFrame({name: [value] for name, value in (GOOD | changed).items()})
    return document.select(filter_reason(language, STARCODER2_FILTERS)).item()


def test_ordinary_code_passes_every_rule() -> None:
    assert reason() is None


@pytest.mark.parametrize(
    ("signal", "allowed", "dropped", "expected"),
    [
        ("num_lines", 100_000, 100_001, "too_many_lines"),
        ("mean_line_chars", 100.0, 100.1, "long_mean_line"),
        ("max_line_chars", 1_000, 1_001, "long_line"),
        ("is_generated", False, True, "auto_generated"),
        ("alphabetic_share", 0.25, 0.2499, "few_letters"),
        ("longest_encoded_chars", 1_024, 1_025, "long_encoded_data"),
        ("encoded_share", 0.5, 0.5001, "mostly_encoded_data"),
    ],
)
def test_a_rule_drops_beyond_its_threshold_only(
    signal: str, allowed: Any, dropped: Any, expected: str
) -> None:
    assert reason(**{signal: allowed}) is None
    assert reason(**{signal: dropped}) == expected


def test_markup_may_have_long_lines_and_data_may_not_have_many() -> None:
    assert reason("json", max_line_chars=100_000, mean_line_chars=5_000.0) is None
    assert reason("json", max_line_chars=100_001) == "long_line"
    assert reason("yaml", num_lines=513) == "long_data_file"
    assert reason("yaml", max_line_chars=1_001) == "long_line"


def test_assembly_is_judged_by_digits_too() -> None:
    assert reason("assembly", alphabetic_share=0.1) is None
    assert reason("assembly", alphanumeric_share=0.1) == "few_letters"


def test_unparsable_python_is_dropped_only_where_the_recipe_says_so() -> None:
    assert reason(parses=False) is None
