"""Runs whose process is gone are ended; those that still work are left alone."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from snow_assets.home import prepare
from snow_resources.local_runs import (
    PROCESS_TAG,
    LocalRunLauncher,
    dead_run_reason,
    end_dead_runs,
    process_tags,
)

ENDLESS = """
import time
import dagster as dg

@dg.op
def wait():
    print("waiting", flush=True)
    time.sleep(600)

@dg.job(executor_def=dg.in_process_executor)
def endless():
    wait()

endless.execute_in_process(instance=dg.DagsterInstance.get())
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """The Dagster of a fresh home."""
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNOW_HOME", str(path))
        patch.setenv("DAGSTER_HOME", str(path / "dagster"))
        prepare()
        with dg.DagsterInstance.get() as opened:
            yield opened


@pytest.fixture
def endless(instance: dg.DagsterInstance) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process in the middle of a run, and the run's id."""
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    run = instance.get_runs(limit=1)[0]
    yield process, run.run_id
    process.kill()
    process.wait()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_ends_when_its_process_was_killed_and_not_before(
    instance: dg.DagsterInstance, endless: tuple[subprocess.Popen[str], str]
) -> None:
    process, run_id = endless
    assert end_dead_runs(instance) == []
    assert status(instance, run_id) is dg.DagsterRunStatus.STARTED
    kill(process)
    assert end_dead_runs(instance) == [run_id]
    assert status(instance, run_id) is dg.DagsterRunStatus.FAILURE
    assert end_dead_runs(instance) == []


def test_run_monitoring_of_the_daemon_ends_a_dead_run(
    instance: dg.DagsterInstance, endless: tuple[subprocess.Popen[str], str]
) -> None:
    assert isinstance(instance.run_launcher, LocalRunLauncher)
    assert instance.run_monitoring_enabled
    process, run_id = endless
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    kill(process)
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        list(execute_run_monitoring_iteration(workspace, logging.getLogger("monitoring")))
    assert status(instance, run_id) is dg.DagsterRunStatus.FAILURE


def tagged(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """A run that was created and not started, as one killed in between leaves it."""

    @dg.op
    def nothing() -> None: ...

    @dg.job
    def idle() -> None:
        nothing()

    return instance.create_run_for_job(idle, tags={**process_tags(), **tags})


@pytest.mark.parametrize(
    ("tags", "is_dead"),
    [
        ({}, False),
        ({PROCESS_TAG: f"{os.getpid()}:{time.time() - 1e6}"}, True),  # the id was given again
        ({PROCESS_TAG: "4194304:0"}, True),  # above the largest process id
        ({"snow/host": "elsewhere", PROCESS_TAG: "4194304:0"}, False),  # not ours to judge
    ],
)
def test_a_run_that_never_started_is_judged_by_its_tags(
    instance: dg.DagsterInstance, tags: dict[str, str], is_dead: bool
) -> None:
    assert (dead_run_reason(instance, tagged(instance, **tags)) is not None) is is_dead
