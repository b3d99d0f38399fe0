"""Two checkpoints on the same texts: how much better one is, and whether that is noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.evaluation.intervals import Bootstrap, Estimate, bits_per_byte_difference

_SAMPLE = ["benchmark", "subset", "sample_id"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Bits per byte of `checkpoint` minus those of `baseline`: below zero, the checkpoint won."""

    checkpoint: str
    baseline: str
    benchmark: str
    subset: str
    estimate: Estimate

    @property
    def verdict(self) -> str:
        """better or worse where the interval excludes zero; else undecided."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None or low <= 0 <= high:
            return "undecided"
        return "better" if high < 0 else "worse"


def differences(folder: str, baseline_folder: str, *, bootstrap: Bootstrap) -> list[Difference]:
    """Compare two generations of `benchmark_results`, by benchmark and subset.

    ValueError if they did not score the same texts: then a difference says nothing.
    """
    own = shards.read(folder, "likelihoods")
    baseline = shards.read(baseline_folder, "likelihoods")
    return list(_differences(own, baseline, bootstrap))


def _differences(own: pa.Table, baseline: pa.Table, bootstrap: Bootstrap) -> Iterator[Difference]:
    order = [(name, "ascending") for name in _SAMPLE]
    own, baseline = own.sort_by(order), baseline.sort_by(order)
    what = [*_SAMPLE, "num_bytes"]
    if not own.select(what).equals(baseline.select(what)):
        raise ValueError(
            f"{own['checkpoint'][0]} and {baseline['checkpoint'][0]} scored different texts "
            f"({own.num_rows} and {baseline.num_rows}): materialize both benchmark_results again"
        )
    subsets = own.group_by(["benchmark", "subset"]).aggregate([]).sort_by(order[:2])
    for row in subsets.to_pylist():
        mask = pc.and_(
            pc.equal(own["benchmark"], row["benchmark"]), pc.equal(own["subset"], row["subset"])
        )
        first, second = own.filter(mask), baseline.filter(mask)
        yield Difference(
            checkpoint=first["checkpoint"][0].as_py(),
            baseline=second["checkpoint"][0].as_py(),
            benchmark=row["benchmark"],
            subset=row["subset"],
            estimate=bits_per_byte_difference(
                first["nats"].to_pylist(),
                second["nats"].to_pylist(),
                first["num_bytes"].to_pylist(),
                first["repository"].to_pylist(),
                bootstrap=bootstrap,
            ),
        )
