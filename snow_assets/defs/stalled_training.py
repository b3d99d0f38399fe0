"""Alert on training that makes no steps: a check of each checkpoint, which a sensor fails.

The process that waits for a training job tags its run (`snow_assets/defs/pretraining.py`); the
check's result of a run in progress is on the checkpoint's page, in the graph and, where alerts are
sent for failed checks, with them.
"""

import json
from collections.abc import Mapping

import dagster as dg

from snow_assets.defs.artifact_metadata import read_metadata
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.pretraining import CHECKPOINTS, STALLED_ASSET_TAG, STALLED_TAG
from snow_assets.recipe import Recipe
from snow_assets.runtime.job_metrics import longest_stall
from snow_assets.stages import Stage
from snow_assets.storage import shards
from snow_resources.lake import Lake

CHECK = "steps_go_on"
_IN_PROGRESS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def steps_go_on(checkpoint: Stage) -> dg.AssetChecksDefinition:
    """The check of a checkpoint's stage, which a finished one's times decide."""

    @dg.asset_check(asset=checkpoint.name, name=CHECK)
    def check(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
        """No step came later than ten times the median step, at least a minute, after the one
        before, pauses between attempts and validation not counted; while it trains, the sensor
        `stalled_training` says so."""
        folder = current_artifact(lake, recipe, checkpoint.name).folder
        stall = longest_stall(read_metadata(folder, shards.manifest(folder)).metrics)
        return dg.AssetCheckResult(
            passed=stall is None, severity=dg.AssetCheckSeverity.WARN, description=stall
        )

    return check


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fail the check `steps_go_on` of a checkpoint while its run makes no steps.",
)
def stalled_training(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Evaluate the checks of checkpoints whose runs are newly tagged as stalled, or no longer are.

    The check stays failed where a run ends without steps. A run that succeeds evaluates it itself.
    """
    filters = dg.RunsFilter(statuses=_IN_PROGRESS, tags={STALLED_TAG: "true"})
    stalled = {
        run.run_id: run.tags[STALLED_ASSET_TAG] for run in context.instance.get_runs(filters)
    }
    reported: dict[str, str] = json.loads(context.cursor or "{}")
    new = {run_id: asset for run_id, asset in stalled.items() if run_id not in reported}
    resumed = {
        run_id: asset
        for run_id, asset in reported.items()
        if run_id not in stalled and _makes_steps(context.instance, run_id)
    }
    for run_id, asset in new.items():
        context.log.error(f"{asset} makes no steps in run {run_id}: see the run's log")
    return dg.SensorResult(
        asset_events=[
            *_evaluations(new, "made no steps for too long: see its log", passed=False),
            *_evaluations(resumed, "makes steps again", passed=True),
        ],
        skip_reason=f"training without steps: {', '.join(stalled.values()) or 'none'}",
        cursor=json.dumps(stalled),
    )


def _makes_steps(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run's last tag says so, and the run has not evaluated the check at its end."""
    run = instance.get_run_by_id(run_id)
    return (
        run is not None
        and run.tags[STALLED_TAG] == "false"
        and run.status is not dg.DagsterRunStatus.SUCCESS
    )


def _evaluations(
    runs: Mapping[str, str], message: str, *, passed: bool
) -> list[dg.AssetCheckEvaluation]:
    """Evaluations for the assets that are checkpoints, by the ids of their runs."""
    checkpoints = {checkpoint.name for checkpoint in CHECKPOINTS.values()}
    return [
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset),
            check_name=CHECK,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"run {run_id} {message}",
        )
        for run_id, asset in runs.items()
        if asset in checkpoints
    ]
