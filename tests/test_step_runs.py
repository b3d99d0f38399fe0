"""Runs of `make demo` belong to the code location that `make dev` loads."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from snow_assets.cli import demo
from snow_assets.definitions import defs
from snow_resources.local_runs import PROCESS_TAG

RUN_A_STEP = """
import json, logging
import dagster as dg
from snow_assets.home import prepare
from snow_assets.recipe import SMOKE
from snow_assets.cli.step_runs import StepRunner

prepare()
with dg.DagsterInstance.get() as instance:
    StepRunner(instance, logging.Logger("progress")).run([dg.AssetKey("opt_outs")], None, SMOKE)
    label = "__repository__@snow_assets.definitions"  # what the UI asks for
    (run,) = instance.get_runs(filters=dg.RunsFilter(tags={".dagster/repository": label}))
print(json.dumps([run.status.value, run.remote_job_origin is not None, dict(run.tags)]))
"""


def test_a_step_s_run_stands_on_the_timeline_of_its_code_location(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNOW_")}
    home = {"SNOW_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN_A_STEP],
        env={**kept, **home, "SNOW_MLFLOW": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status, has_origin, tags = json.loads(done.stdout.splitlines()[-1])
    assert (status, has_origin, tags["snow/recipe"]) == ("SUCCESS", True, "SMOKE")
    assert PROCESS_TAG in tags


def test_every_job_schedule_and_sensor_says_what_it_does() -> None:
    repository = defs.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert {"whole_recipe", "read_sources", "curate_languages", "shared_steps"} <= {
        job.name for job in jobs
    }
    described = [*jobs, *repository.sensor_defs, *repository.schedule_defs]
    assert [one.name for one in described if not one.description] == []


def test_one_switch_turns_the_automation_on() -> None:
    sensors = {sensor.name: sensor for sensor in defs.get_repository_def().sensor_defs}
    automation = sensors.pop("automation")
    assert automation.default_status is dg.DefaultSensorStatus.STOPPED
    # The others start nothing.
    assert [name for name, sensor in sensors.items() if sensor.targets] == []


def test_a_failed_check_that_blocks_is_the_last_thing_that_the_demo_prints() -> None:
    @dg.asset
    def made() -> int:
        return 1

    @dg.asset_check(asset=made, blocking=True)
    def is_good() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="AUC 0.455, minimum 0.55")

    result = dg.materialize([made, is_good], raise_on_error=False)
    failure = demo.failure_message(Console(file=io.StringIO()), result)
    assert failure.splitlines()[-1] == "is_good: AUC 0.455, minimum 0.55"


def test_an_interrupted_step_is_told_in_one_line_without_a_traceback() -> None:
    @dg.asset
    def interrupted() -> None:
        raise dg.DagsterExecutionInterruptedError

    result = dg.materialize([interrupted], raise_on_error=False)
    output = io.StringIO()
    with pytest.raises(demo.InterruptedRunError, match="Finished work is kept: start it again"):
        demo.failure_message(Console(file=output), result)
    assert output.getvalue() == ""
