"""Paired difference in bits per byte of two checkpoints on the same texts."""

from dataclasses import dataclass

import polars as pl

from snow_assets.evaluation.intervals import Bootstrap, Estimate, bits_per_byte_difference
from snow_assets.storage import shards

_SAMPLE = ["benchmark", "subset", "sample_id"]
_VALUES = ("nats", "baseline_nats", "num_bytes", "repository")


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
    samples, baseline = (
        pl.DataFrame(shards.read(artifact, "likelihoods")).sort(_SAMPLE)
        for artifact in (folder, baseline_folder)
    )
    texts = [*_SAMPLE, "num_bytes"]
    if not samples.select(texts).equals(baseline.select(texts)):
        raise ValueError(
            f"{samples['checkpoint'][0]} and {baseline['checkpoint'][0]} scored different texts "
            f"({samples.height} and {baseline.height}): materialize both benchmark_results again"
        )
    paired = samples.with_columns(baseline_nats=baseline["nats"])
    return [
        PairedDifference(
            checkpoint=rows["checkpoint"][0],
            baseline=baseline["checkpoint"][0],
            benchmark=rows["benchmark"][0],
            subset=rows["subset"][0],
            estimate=bits_per_byte_difference(
                *(rows[column].to_list() for column in _VALUES), bootstrap=bootstrap
            ),
        )
        for rows in paired.partition_by("benchmark", "subset", maintain_order=True)
    ]
