"""`make demo` under kills ends as an undisturbed one; `benchmarks/kills.py` has all moments."""

import os
from pathlib import Path

import pytest

from benchmarks import kills

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_a_demo_that_was_killed_again_and_again_ends_like_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    number = int(os.environ.get("SNOW_TEST_KILLS", "8"))
    assert kills.test(tmp_path, kills.RECIPE, number, seed=0, limit=900) == []
