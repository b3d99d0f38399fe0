"""A finished job's generation, as its manifest and its page tell it."""

from typing import Any

import pyarrow as pa

from snow_assets import shards
from snow_assets.pretraining.contract import RESUME, PretrainingReport


def settled(folder: str, report: PretrainingReport) -> dict[str, Any]:
    """The manifest's facts of a checkpoint, the same for a phase that was killed and resumed.

    Deletes what only a resume needs. FileNotFoundError if the folder lost what the job wrote.
    """
    if shards.record(folder, "model/config.json") is None:
        raise FileNotFoundError(
            f"{folder} has no model, and its job is reported as finished: delete the job's folder "
            "and materialize again"
        )
    shards.remove(shards.join(folder, RESUME))
    return {
        "steps": report.steps,
        "sequences": report.sequences,
        "tokens": report.tokens,
        "parameters": report.parameters,
        "first_loss_bits": report.first_loss_bits,
        "last_loss_bits": report.last_loss_bits,
    }


def tokens_per_second(report: PretrainingReport) -> float:
    """Of the attempt that finished, without its start."""
    share = (report.steps - report.resumed_from) / report.steps
    return round(report.tokens * share / max(report.seconds, 1e-9), 1)


def repositories_table(folder: str, *, rows: int) -> str:
    """Markdown: the repositories that a checkpoint saw most of, from its table `seen`."""
    names = [entry.name for entry in shards.records(folder) if entry.name.startswith("seen-")]
    seen = pa.concat_tables(shards.read_shard(folder, name) for name in names)
    by_repository = seen.group_by(["language", "repository", "license"])
    sums = by_repository.aggregate([("num_tokens", "sum"), ("document_id", "count")])
    ordered = sums.sort_by([("num_tokens_sum", "descending"), ("repository", "ascending")])
    lines = [
        "| repository | language | license | files | tokens |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    lines += [
        f"| {row['repository']} | {row['language']} | {row['license']} "
        f"| {row['document_id_count']:,} | {row['num_tokens_sum']:,} |"
        for row in ordered.slice(0, rows).to_pylist()
    ]
    return "\n".join(lines)
