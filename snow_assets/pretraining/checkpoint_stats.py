"""Manifest stats and Dagster metadata of a finished checkpoint."""

from typing import Any

import polars as pl

from snow_assets import markdown
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
        "skipped_steps": report.skipped_steps,
        "rollbacks": report.rollbacks,
        "rolled_back_steps": report.rolled_back_steps,
    }


def tokens_per_second(report: PretrainingReport) -> float:
    """Training throughput of the last attempt, without its startup."""
    fraction = (report.steps - report.resumed_from) / report.steps
    return round(report.tokens * fraction / max(report.seconds, 1e-9), 1)


def repositories_table(folder: str, *, rows: int) -> str:
    """Markdown table of the repositories with the most trained tokens, from table `seen`."""
    documents = pl.DataFrame(shards.read_unfinished(folder, "seen"))
    by_repository = documents.group_by("repository", "language", "license")
    totals = by_repository.agg(pl.len(), pl.sum("num_tokens"))
    ranked = totals.sort("num_tokens", "repository", descending=[True, False]).head(rows)
    return markdown.table(["repository", "language", "license", "files", "tokens"], ranked.rows())
