"""Two checkpoints on the same texts."""

from pathlib import Path

import pytest

from snow_assets.evaluation.comparison import PairedDifference, paired_differences
from snow_assets.evaluation.intervals import Bootstrap
from snow_assets.storage import shards
from snow_assets.storage.schemas import LIKELIHOOD
from tests.evaluation.builders import finished
from tests.evaluation.test_results import a_likelihood

BOOTSTRAP = Bootstrap(resamples=300, min_repositories=10, seed=0)
HARD = [60.0 + 9 * n for n in range(20)]


def a_measured(lake: Path, name: str, nats: list[float]) -> str:
    rows = [
        a_likelihood("python", f"d{n:02d}", cost, checkpoint=name) for n, cost in enumerate(nats)
    ]
    folder = shards.join(str(lake), "benchmark_results", name, "g")
    shards.put_table(folder, "likelihoods", 0, rows, LIKELIHOOD)
    return finished(str(lake), "benchmark_results", name)


def compared(tmp_path: Path, nats: list[float]) -> PairedDifference:
    own = a_measured(tmp_path, "continued", nats)
    baseline = a_measured(tmp_path, "general", HARD)
    (found,) = paired_differences(own, baseline, bootstrap=BOOTSTRAP)
    return found


def test_a_checkpoint_that_costs_less_everywhere_is_better(tmp_path: Path) -> None:
    found = compared(tmp_path, [cost - 2 for cost in HARD])
    assert (found.checkpoint, found.baseline, found.subset) == ("continued", "general", "python")
    assert found.significance == "better"


def test_a_checkpoint_that_costs_more_everywhere_is_worse(tmp_path: Path) -> None:
    assert compared(tmp_path, [cost + 2 for cost in HARD]).significance == "worse"


def test_differences_that_cancel_are_undecided(tmp_path: Path) -> None:
    mixed = [cost + (2 if n % 2 else -2) for n, cost in enumerate(HARD)]
    assert compared(tmp_path, mixed).significance == "undecided"


def test_different_texts_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scored different texts"):
        compared(tmp_path, HARD[:-1])
