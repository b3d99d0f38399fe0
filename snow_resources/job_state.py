"""What a Kubernetes Job's objects say of it: queued, starting, running, or how it ended.

Judged by the Job's conditions, never by its counters: between a pod's failure and its replacement
they look final and are not. Facts of pods explain what the conditions only name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from snow_resources.gpu_jobs import BAD_INPUT, KILLED, PASSING_FAULT, PREEMPTED, meaning

Json = dict[str, Any]
Phase = Literal["queued", "starting", "running", "complete", "failed"]

UNPULLABLE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True, kw_only=True)
class JobState:
    """Where a Job stands, and why, in words for people. Times in seconds."""

    phase: Phase
    why: str
    is_passing: bool = False  # of a failure: the same work may well succeed now
    exit_code: int | None = None
    queue_seconds: float | None = None  # from its creation until its first pod was placed
    run_seconds: float = 0.0  # of all its containers


def job_state(job: Json, pods: Sequence[Json]) -> JobState:
    """The state of a Job, given it and its pods as the API returns them."""
    times: dict[str, Any] = {
        "queue_seconds": _queue_seconds(job, pods),
        "run_seconds": _run_seconds(pods),
    }
    conditions = {
        one["type"]: one for one in job["status"].get("conditions") or () if one["status"] == "True"
    }
    if "Complete" in conditions:
        return JobState(phase="complete", why="complete", **times)
    if "Failed" in conditions:
        return _failure(conditions["Failed"], pods, times)
    refusal = next((code for pod in pods if (code := _exit_code(pod)) == BAD_INPUT), None)
    if refusal is not None:  # a server without podFailurePolicy would try it again
        return JobState(phase="failed", why=_code_told(refusal), exit_code=refusal, **times)
    if job["spec"].get("suspend"):
        return JobState(phase="queued", why="suspended: its queue has not admitted it", **times)
    phase, why = _unfinished([pod for pod in pods if not _has_ended(pod)])
    return JobState(phase=phase, why=why, **times)


def _unfinished(live: Sequence[Json]) -> tuple[Phase, str]:
    """Of several pods the furthest counts, and what is wrong with any of them is told."""
    if not live:
        return "queued", "no pod yet"
    found = [_pod_phase(pod) for pod in live]
    order: list[Phase] = ["running", "starting", "queued"]
    phase = min((one for one, _ in found), key=order.index)
    told = sorted({why for one, why in found if one == phase or why.startswith("node lost")})
    return phase, "; ".join(told)


def _pod_phase(pod: Json) -> tuple[Phase, str]:
    status, name = pod["status"], pod["metadata"]["name"]
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
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
    waiting = _container(pod).get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason and reason != "ContainerCreating":
        return "starting", f"{reason}: {waiting.get('message', 'no message')}"
    return "starting", f"{name} is prepared on {pod['spec'].get('nodeName')}"


def _is_lost(pod: Json, conditions: dict[str, Json]) -> bool:
    """Whether the cluster has given up on the pod's node, while the container's last word was
    that it is well."""
    if pod["status"].get("reason") == "NodeLost":
        return True
    is_ready = conditions.get("Ready", {}).get("status") == "True"
    return bool(
        pod["status"].get("phase") == "Running" and _container(pod).get("ready") and not is_ready
    )


def _failure(condition: Json, pods: Sequence[Json], times: dict[str, Any]) -> JobState:
    """The last pod's own reason; where no pod is left, the condition's."""
    ended = sorted((pod for pod in pods if _has_ended(pod)), key=_ended_at)
    failed = [pod for pod in ended if pod["status"]["phase"] == "Failed"]
    why, is_passing, code = f"{condition.get('reason')}: {condition.get('message')}", True, None
    if failed:
        why, is_passing, code = _pod_failure(failed[-1])
    elif condition.get("reason") == "DeadlineExceeded":
        is_passing = False
    return JobState(phase="failed", why=why, is_passing=is_passing, exit_code=code, **times)


def _pod_failure(pod: Json) -> tuple[str, bool, int | None]:
    """Why, whether it passes, and the exit code."""
    status, name = pod["status"], pod["metadata"]["name"]
    terminated = _container(pod).get("state", {}).get("terminated", {})
    code = terminated.get("exitCode")
    if status.get("reason") == "DeadlineExceeded":
        return f"{name} passed its time limit: raise run_seconds, or find out why", False, code
    if status.get("reason") == "Evicted":
        return f"{name} was evicted: {status.get('message')}", True, code
    if terminated.get("reason") == "OOMKilled":
        limit = pod["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory")
        return f"OOMKilled: {name} used more than its {limit} of memory: raise it", False, code
    disrupted = [
        one
        for one in status.get("conditions") or ()
        if one["type"] == "DisruptionTarget" and one["status"] == "True"
    ]
    if disrupted:
        return f"{name} was disrupted: {disrupted[0].get('message')}", True, code
    if pod["metadata"].get("deletionTimestamp") or status.get("reason") in ("NodeLost", "Shutdown"):
        return f"{name} was deleted or its node lost", True, code
    if code is None:
        return f"{name}: {status.get('reason')}: {status.get('message')}", True, None
    return _code_told(code), code in (PASSING_FAULT, PREEMPTED, KILLED), code


def _code_told(code: int) -> str:
    return f"exit code {code}: {meaning(code)}"


def _exit_code(pod: Json) -> int | None:
    code = _container(pod).get("state", {}).get("terminated", {}).get("exitCode")
    return None if code is None else int(code)


def _container(pod: Json) -> Json:
    found = pod["status"].get("containerStatuses") or [{}]
    return dict(found[0])


def _has_ended(pod: Json) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _ended_at(pod: Json) -> str:
    terminated = _container(pod).get("state", {}).get("terminated", {})
    return str(terminated.get("finishedAt") or pod["metadata"].get("creationTimestamp"))


def _queue_seconds(job: Json, pods: Sequence[Json]) -> float | None:
    placed = [
        _time(one["lastTransitionTime"])
        for pod in pods
        for one in pod["status"].get("conditions") or ()
        if one["type"] == "PodScheduled" and one["status"] == "True"
    ]
    created = _time(job["metadata"]["creationTimestamp"])
    return (min(placed) - created).total_seconds() if placed else None


def _run_seconds(pods: Sequence[Json]) -> float:
    total = 0.0
    for pod in pods:
        ended = _container(pod).get("state", {}).get("terminated", {})
        if ended.get("startedAt") and ended.get("finishedAt"):
            total += (_time(ended["finishedAt"]) - _time(ended["startedAt"])).total_seconds()
    return total


def _time(told: str) -> datetime:
    return datetime.strptime(told, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
