"""A process that is the daemon: ticks the code location's sensor until nothing starts any more.

`python -m tests.automation.ticks [ASSET ...]`: a person makes these assets first. Prints JSON:
for each tick the runs that it started, and the reason of the last one, which started none.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor as sensor_daemon

from snow_assets import definitions
from snow_assets.home import CHECKOUT, prepare

MAX_TICKS = 20
# Runs in this process, one after the other: each tick ends when what it started has ended.
SETTINGS = """
telemetry: {enabled: false}
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
run_launcher:
  module: dagster._core.launcher.sync_in_memory_run_launcher
  class: SyncInMemoryRunLauncher
"""


def workspace(instance: dg.DagsterInstance) -> WorkspaceProcessContext:
    target = LoadableTargetOrigin(
        executable_path=sys.executable,
        module_name="tests.automation.location",
        working_directory=str(CHECKOUT),
    )
    origin = InProcessCodeLocationOrigin(target, location_name="snow_assets.definitions")
    return WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin))


def tick(context: WorkspaceProcessContext, instance: dg.DagsterInstance) -> dict[str, Any]:
    """One iteration of the sensor daemon: the runs that it started, or why none."""
    before = {run.run_id for run in instance.get_runs()}
    list(sensor_daemon.execute_sensor_iteration(context, logging.getLogger("ticks"), None, None))
    started = [run for run in reversed(instance.get_runs()) if run.run_id not in before]
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    (state,) = (each for each in states if each.instigator_name == "automation")
    last = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)[0]
    return {
        "status": last.status.value,
        "error": str(last.error) if last.error else None,
        "reason": last.skip_reason,
        "runs": [
            {
                "assets": sorted(key.path[-1] for key in run.asset_selection or ()),
                "partition": run.tags.get("dagster/partition"),
                "status": run.status.value,
            }
            for run in started
        ],
    }


def main(assets: list[str]) -> None:
    settings = Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(SETTINGS)
    prepare()
    # Nobody waits for the interval between two ticks here.
    sensor_daemon.is_under_min_interval = lambda *_: False
    ticks = []
    with dg.DagsterInstance.get() as instance:
        job = definitions.defs.resolve_implicit_global_asset_job_def()
        for asset in assets:
            job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(asset)])
        with workspace(instance) as context:
            (location,) = context.create_request_context().code_locations
            (repository,) = location.get_repositories().values()
            instance.start_sensor(repository.get_sensor("automation"))
            for _ in range(MAX_TICKS):
                ticks.append(tick(context, instance))
                if not ticks[-1]["runs"]:
                    break
    sys.stdout.write("\n" + json.dumps(ticks) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
