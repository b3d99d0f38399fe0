"""Paired difference in bits per byte of two checkpoints on the same texts."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.evaluation.intervals import Bootstrap, Estimate, bits_per_byte_difference
from snow_assets.storage import shards

_SAMPLE = ["benchmark", "subset", "sample_id"]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Bits per byte of `checkpoint` minus those of `baseline`; negative: `checkpoint` is better."""

    checkpoint: str
    baseline: str
    benchmark: str
    subset: str
    estimate: Estimate

    @property
    def significance(self) -> str:
        """`better` or `worse` if the 95 % interval excludes zero, else `undecided`."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None or low <= 0 <= high:
            return "undecided"
        return "better" if high < 0 else "worse"


def paired_differences(
    folder: str, baseline_folder: str, *, bootstrap: Bootstrap
) -> list[PairedDifference]:
    """Compare two `benchmark_results` artifacts, by benchmark and subset.

    ValueError if they did not score the same texts.
    """
    samples = shards.read(folder, "likelihoods")
    baseline = shards.read(baseline_folder, "likelihoods")
    return list(_paired_differences(samples, baseline, bootstrap))


def _paired_differences(
    samples: pa.Table, baseline: pa.Table, bootstrap: Bootstrap
) -> Iterator[PairedDifference]:
    order = [(name, "ascending") for name in _SAMPLE]
    samples, baseline = samples.sort_by(order), baseline.sort_by(order)
    sample_columns = [*_SAMPLE, "num_bytes"]
    if not samples.select(sample_columns).equals(baseline.select(sample_columns)):
        raise ValueError(
            f"{samples['checkpoint'][0]} and {baseline['checkpoint'][0]} scored different texts "
            f"({samples.num_rows} and {baseline.num_rows}): materialize both benchmark_results "
            "again"
        )
    subsets = samples.group_by(["benchmark", "subset"]).aggregate([]).sort_by(order[:2])
    for row in subsets.to_pylist():
        mask = pc.and_(
            pc.equal(samples["benchmark"], row["benchmark"]),
            pc.equal(samples["subset"], row["subset"]),
        )
        subset_samples, subset_baseline = samples.filter(mask), baseline.filter(mask)
        yield PairedDifference(
            checkpoint=subset_samples["checkpoint"][0].as_py(),
            baseline=subset_baseline["checkpoint"][0].as_py(),
            benchmark=row["benchmark"],
            subset=row["subset"],
            estimate=bits_per_byte_difference(
                subset_samples["nats"].to_pylist(),
                subset_baseline["nats"].to_pylist(),
                subset_samples["num_bytes"].to_pylist(),
                subset_samples["repository"].to_pylist(),
                bootstrap=bootstrap,
            ),
        )
