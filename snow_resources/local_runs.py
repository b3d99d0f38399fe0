"""Health checks of Dagster runs whose process is on this machine, and the end of dead runs.

Dagster counts a run as started until its own process reports an end. A killed process reports
nothing, and without a check the queue waits for it forever.
"""

import socket
from collections.abc import Mapping
from typing import Any

import dagster as dg
import psutil  # type: ignore[import-untyped]
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

HOST_TAG, PROCESS_TAG = "snow/host", "snow/process"
"""On a run that no launcher started: the machine, and `PID:START TIME` of its process."""

_CLOCK_SECONDS = 2.0  # by how much a process's start time and an event's time may disagree


class LocalRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher with a health check of a run's process for run monitoring."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if reason := dead_run_reason(self._instance, run):
            return CheckRunHealthResult(WorkerStatus.FAILED, reason)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def process_tags() -> Mapping[str, str]:
    """Tags of a run that executes in this process."""
    process = psutil.Process()
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: f"{process.pid}:{process.create_time()}"}


def dead_run_reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """Why an unfinished run's process is dead; None: it is alive, or its state is unknown."""
    if run.tags.get(HOST_TAG, socket.gethostname()) != socket.gethostname():
        return None
    if PROCESS_TAG in run.tags:
        pid, _, started = run.tags[PROCESS_TAG].partition(":")
        is_alive = _is_alive(int(pid), float(started))
    elif (worker := _worker_process(instance, run.run_id)) is not None:
        pid, is_alive = str(worker[0]), _is_alive(*worker)
    else:
        return None
    if is_alive:
        return None
    return (
        f"The run's process (pid {pid}) has ended: it was killed, or the machine was restarted. "
        "Files that it finished are kept; run it again to go on from there."
    )


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End every unfinished run whose process is dead; return their ids."""
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        reason = dead_run_reason(instance, run)
        if reason is None:
            continue
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, reason)
        else:
            instance.report_run_failed(run, reason)
        ended.append(run.run_id)
    return ended


def _worker_process(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Pid of a run's worker, and a time at which it was alive; None before its start."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata: Mapping[str, Any] = event.engine_event_data.metadata if event else {}
        if (pid := metadata.get("pid")) is not None and str(pid.value).isdigit():
            return int(pid.value), entry.timestamp
    return None


def _is_alive(pid: int, seconds: float) -> bool:
    """Whether the process is alive and was started by that time, so that the pid is not reused."""
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        created: float = process.create_time()
    except psutil.NoSuchProcess:
        return False
    return not is_zombie and created <= seconds + _CLOCK_SECONDS
