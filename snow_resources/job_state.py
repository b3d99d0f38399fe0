"""State of a Kubernetes Job from its objects: queued, starting, running, complete or failed.

Derived from the Job's conditions, not from its counters: between a pod's failure and its
replacement the counters look final. The pods' status explains the conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from snow_resources.gpu_jobs import BAD_INPUT, KILLED, PREEMPTED, RETRYABLE, exit_code_meaning

Json = dict[str, Any]
Phase = Literal["queued", "starting", "running", "complete", "failed"]


@dataclass(frozen=True, kw_only=True)
class JobState:
    """Phase of a Job, and the reason, for users. Times in seconds."""

    phase: Phase
    why: str
    is_passing: bool = False  # a failure that a retry may cure
    exit_code: int | None = None
    queue_seconds: float | None = None  # from its creation until its first pod was scheduled
    run_seconds: float = 0.0  # of all its containers


def job_state(job: Json, pods: Sequence[Json]) -> JobState:
    """The state of a Job from the Job and its pods, as the API returns them."""
    times: dict[str, Any] = {
        "queue_seconds": _queue_seconds(job, pods),
        "run_seconds": _run_seconds(pods),
    }
    conditions = {
        condition["type"]: condition
        for condition in job["status"].get("conditions") or ()
        if condition["status"] == "True"
    }
    if "Complete" in conditions:
        return JobState(phase="complete", why="complete", **times)
    if "Failed" in conditions:
        return _failed_state(conditions["Failed"], pods, times)
    refusal = next((code for pod in pods if (code := _exit_code(pod)) == BAD_INPUT), None)
    if refusal is not None:  # a server without podFailurePolicy would try it again
        return JobState(phase="failed", why=_exit_code_message(refusal), exit_code=refusal, **times)
    if job["spec"].get("suspend"):
        return JobState(phase="queued", why="suspended: its queue has not admitted it", **times)
    phase, why = _active_phase([pod for pod in pods if not _is_terminated(pod)])
    return JobState(phase=phase, why=why, **times)


def _active_phase(live: Sequence[Json]) -> tuple[Phase, str]:
    """The most advanced phase of the pods, with the reasons of that phase and of lost nodes."""
    if not live:
        return "queued", "no pod yet"
    pod_phases = [_pod_phase(pod) for pod in live]
    order: list[Phase] = ["running", "starting", "queued"]
    phase = min((pod_phase for pod_phase, _ in pod_phases), key=order.index)
    reasons = {
        why for pod_phase, why in pod_phases if pod_phase == phase or why.startswith("node lost")
    }
    return phase, "; ".join(sorted(reasons))


def _pod_phase(pod: Json) -> tuple[Phase, str]:
    status, name = pod["status"], pod["metadata"]["name"]
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if _is_lost(pod, conditions):
        return "running", f"node lost: {pod['spec'].get('nodeName')} of {name} does not answer"
    if pod["metadata"].get("deletionTimestamp"):
        return "running", f"{name} is being deleted"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") != "True":
        message = scheduled.get("message") or "not looked at yet"
        return "queued", f"unschedulable: {message}" if scheduled else "waits for the scheduler"
    if status.get("phase") == "Running":
        return "running", f"{name} on {pod['spec'].get('nodeName')}"
    waiting = _container_status(pod).get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason and reason != "ContainerCreating":
        return "starting", f"{reason}: {waiting.get('message', 'no message')}"
    return "starting", f"{name} is prepared on {pod['spec'].get('nodeName')}"


def _is_lost(pod: Json, conditions: dict[str, Json]) -> bool:
    """Whether the pod's node is lost: the pod is not ready, but its container's last status is."""
    if pod["status"].get("reason") == "NodeLost":
        return True
    is_ready = conditions.get("Ready", {}).get("status") == "True"
    return bool(
        pod["status"].get("phase") == "Running"
        and _container_status(pod).get("ready")
        and not is_ready
    )


def _failed_state(condition: Json, pods: Sequence[Json], times: dict[str, Any]) -> JobState:
    """A failed Job's state: the last failed pod's reason, or the condition's without such a pod."""
    ended = sorted((pod for pod in pods if _is_terminated(pod)), key=_finished_at)
    failed = [pod for pod in ended if pod["status"]["phase"] == "Failed"]
    why, is_passing, code = f"{condition.get('reason')}: {condition.get('message')}", True, None
    if failed:
        why, is_passing, code = _pod_failure(failed[-1])
    elif condition.get("reason") == "DeadlineExceeded":
        is_passing = False
    return JobState(phase="failed", why=why, is_passing=is_passing, exit_code=code, **times)


def _pod_failure(pod: Json) -> tuple[str, bool, int | None]:
    """The reason, whether a retry may cure it, and the exit code."""
    status, name = pod["status"], pod["metadata"]["name"]
    terminated = _container_status(pod).get("state", {}).get("terminated", {})
    code = terminated.get("exitCode")
    if status.get("reason") == "DeadlineExceeded":
        return f"{name} passed its time limit: raise run_seconds, or find out why", False, code
    if status.get("reason") == "Evicted":
        return f"{name} was evicted: {status.get('message')}", True, code
    if terminated.get("reason") == "OOMKilled":
        limit = pod["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory")
        return f"OOMKilled: {name} used more than its {limit} of memory: raise it", False, code
    disrupted = [
        condition
        for condition in status.get("conditions") or ()
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True"
    ]
    if disrupted:
        return f"{name} was disrupted: {disrupted[0].get('message')}", True, code
    if pod["metadata"].get("deletionTimestamp") or status.get("reason") in ("NodeLost", "Shutdown"):
        return f"{name} was deleted or its node lost", True, code
    if code is None:
        return f"{name}: {status.get('reason')}: {status.get('message')}", True, None
    return _exit_code_message(code), code in (RETRYABLE, PREEMPTED, KILLED), code


def _exit_code_message(code: int) -> str:
    return f"exit code {code}: {exit_code_meaning(code)}"


def _exit_code(pod: Json) -> int | None:
    code = _container_status(pod).get("state", {}).get("terminated", {}).get("exitCode")
    return None if code is None else int(code)


def _container_status(pod: Json) -> Json:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return dict(statuses[0])


def _is_terminated(pod: Json) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _finished_at(pod: Json) -> str:
    terminated = _container_status(pod).get("state", {}).get("terminated", {})
    return str(terminated.get("finishedAt") or pod["metadata"].get("creationTimestamp"))


def _queue_seconds(job: Json, pods: Sequence[Json]) -> float | None:
    scheduled = [
        _parse_time(condition["lastTransitionTime"])
        for pod in pods
        for condition in pod["status"].get("conditions") or ()
        if condition["type"] == "PodScheduled" and condition["status"] == "True"
    ]
    created = _parse_time(job["metadata"]["creationTimestamp"])
    return (min(scheduled) - created).total_seconds() if scheduled else None


def _run_seconds(pods: Sequence[Json]) -> float:
    total = 0.0
    for pod in pods:
        terminated = _container_status(pod).get("state", {}).get("terminated", {})
        if terminated.get("startedAt") and terminated.get("finishedAt"):
            total += (
                _parse_time(terminated["finishedAt"]) - _parse_time(terminated["startedAt"])
            ).total_seconds()
    return total


def _parse_time(timestamp: str) -> datetime:
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
