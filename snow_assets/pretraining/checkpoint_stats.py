"""Manifest stats and Dagster metadata of a finished checkpoint."""

from typing import Any

import pyarrow as pa

from snow_assets.pretraining.contract import RESUME, PretrainingReport
from snow_assets.storage import shards


def finish_checkpoint(folder: str, report: PretrainingReport) -> dict[str, Any]:
    """Return a checkpoint's manifest stats, equal for an interrupted and an uninterrupted phase.

    Deletes the resume folder. FileNotFoundError if the model that the job wrote is missing.
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
    """Training throughput of the last attempt, without its startup."""
    fraction = (report.steps - report.resumed_from) / report.steps
    return round(report.tokens * fraction / max(report.seconds, 1e-9), 1)


def repositories_table(folder: str, *, rows: int) -> str:
    """Markdown table of the repositories with the most trained tokens, from table `seen`."""
    names = [entry.name for entry in shards.records(folder) if entry.name.startswith("seen-")]
    documents = pa.concat_tables(shards.read_shard(folder, name) for name in names)
    by_repository = documents.group_by(["language", "repository", "license"])
    totals = by_repository.aggregate([("num_tokens", "sum"), ("document_id", "count")])
    ranked = totals.sort_by([("num_tokens_sum", "descending"), ("repository", "ascending")])
    lines = [
        "| repository | language | license | files | tokens |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    lines += [
        f"| {row['repository']} | {row['language']} | {row['license']} "
        f"| {row['document_id_count']:,} | {row['num_tokens_sum']:,} |"
        for row in ranked.slice(0, rows).to_pylist()
    ]
    return "\n".join(lines)
