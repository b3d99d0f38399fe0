"""Alert on training that makes no steps: a check of each checkpoint, which its run fails.

The process that waits for a training job reports stalls (`snow_assets/defs/pretraining.py`); the
check's result of a run in progress is on the checkpoint's page, in the graph and, where alerts are
sent for failed checks, with them.
"""

import dagster as dg

from snow_assets.defs.artifact_metadata import read_metadata
from snow_assets.defs.materialize import current_artifact
from snow_assets.recipe import Recipe
from snow_assets.runtime.job_metrics import longest_stall
from snow_assets.stages import Stage
from snow_assets.storage import shards
from snow_resources.lake import Lake

CHECK = "steps_go_on"
STALLED_TAG = "snow/stalled"
"""Tag of a Dagster run whose training makes no steps (`true`), or makes them again (`false`)."""


def steps_go_on(checkpoint: Stage) -> dg.AssetChecksDefinition:
    """The check of a checkpoint's stage, which a finished one's times decide."""

    @dg.asset_check(asset=checkpoint.name, name=CHECK)
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """No step came later than ten times the median step, at least a minute, after the one
        before, pauses between attempts and validation not counted; while it trains, its run
        says so."""
        folder = current_artifact(lake, recipe, checkpoint.name).folder
        stall = longest_stall(read_metadata(folder, shards.manifest(folder)).metrics)
        return dg.AssetCheckResult(
            passed=stall is None, severity=dg.AssetCheckSeverity.WARN, description=stall
        )

    return check


def report_stall(
    instance: dg.DagsterInstance,
    run_id: str,
    checkpoint: str,
    message: str | None,
    *,
    has_check: bool,
) -> None:
    """Tag the run that trains a checkpoint, and fail the checkpoint's check; None: steps go on.

    The check stays failed where a run ends without steps. A run that succeeds evaluates it itself.
    A run that is no part of the instance has neither.
    """
    if not instance.has_run(run_id):
        return
    instance.add_run_tags(run_id, {STALLED_TAG: "false" if message is None else "true"})
    if has_check:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(checkpoint),
                check_name=CHECK,
                passed=message is None,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"run {run_id}: {message or 'makes steps again'}",
            )
        )
