"""A job's manifest: the template of `k8s/`, the request's size, then a site's own patches."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from snow_resources.gpu_jobs import Job, JobSize, command

Json = dict[str, Any]

TEMPLATE = Path(__file__).resolve().parents[1] / "k8s" / "job.yaml"

DIGEST = "snow/digest"
CLAIM = "snow-claim/"
SHARDS = "snow/shards"
"""The label that names a job's work; the prefix of its annotations, one per run that waits; and
the annotation that tells how many pods share the work."""

_FAILURES_PER_SHARD = 3

# What lists of objects are merged by; other lists are appended to (tolerations) or replaced.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
_APPENDED = ("tolerations", "envFrom", "matchExpressions", "nodeSelectorTerms")


def job_name(job: Job, attempt: int) -> str:
    """A DNS label of at most 52 characters, since an index and a suffix come on top."""
    spoken = re.sub(r"[^a-z0-9]+", "-", f"{job.asset}-{job.partition}".lower()).strip("-")
    return f"{spoken[:36].strip('-')}-{job.digest[:10]}-{attempt}"


def render(
    job: Job,
    attempt: int,
    size: JobSize,
    *,
    run_id: str,
    image: str,
    python: str,
    environment: dict[str, str],
    run_seconds: int,
    has_failure_policy: bool,
    num_shards: int = 1,
    parallelism: int = 1,
    queue: str = "",
    patches: Sequence[Json] = (),
) -> Json:
    """The whole Job. `environment` is for what is no secret: those come by patch, by reference."""
    made = read_yaml(TEMPLATE)
    labels = {DIGEST: job.digest, "snow/asset": job.asset, "snow/partition": _label(job.partition)}
    metadata, spec = made["metadata"], made["spec"]
    metadata["name"] = job_name(job, attempt)
    metadata["labels"] |= labels
    metadata["annotations"] = {f"{CLAIM}{run_id}": "waits", SHARDS: str(num_shards)}
    if queue:
        metadata["labels"]["kueue.x-k8s.io/queue-name"] = queue
        spec["suspend"] = True  # until Kueue admits it
    if has_failure_policy:
        spec["podFailurePolicy"] = {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "work", "operator": "In", "values": [42]},
                },
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
            ]
        }
    if num_shards > 1:
        spec |= _indexed(num_shards, parallelism, has_failure_policy=has_failure_policy)
        environment = {**environment, "SNOW_SHARDS": str(num_shards)}
    if size.nodes > 1:  # all or nothing: one that fails ends the Job, and the next attempt resumes
        spec |= {"completionMode": "Indexed", "completions": size.nodes, "parallelism": size.nodes}
    template = spec["template"]
    template["metadata"]["labels"] |= labels
    # The pod's own limit, not the Job's: time in a queue is no time of work.
    template["spec"]["activeDeadlineSeconds"] = run_seconds
    (container,) = template["spec"]["containers"]
    container["image"] = image
    container["command"] = command(job, attempt, size, python)
    container["env"] += [{"name": name, "value": told} for name, told in environment.items()]
    container["env"].append(
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    )
    container["resources"] = _resources(size)
    (shm,) = (one for one in template["spec"]["volumes"] if one["name"] == "shm")
    shm["emptyDir"]["sizeLimit"] = f"{max(1, size.memory_gib // 2)}Gi"  # it counts as memory
    for patch in patches:
        made = merged(made, patch)
    return made


def _indexed(num_shards: int, parallelism: int, *, has_failure_policy: bool) -> Json:
    """Pods that share the work. One that fails is started again, since it resumes by itself; a
    server without limits per index counts the failures of all."""
    made = {
        "completionMode": "Indexed",
        "completions": num_shards,
        "parallelism": min(parallelism, num_shards),
    }
    made["backoffLimit"] = _FAILURES_PER_SHARD * num_shards
    if has_failure_policy:
        made |= {"backoffLimitPerIndex": _FAILURES_PER_SHARD, "maxFailedIndexes": 0}
    return made


def _resources(size: JobSize) -> Json:
    memory = f"{size.memory_gib}Gi"
    requests: Json = {"cpu": str(size.cpus), "memory": memory}
    limits: Json = {"memory": memory}  # none on CPU: it would only throttle
    if size.gpus:
        limits["nvidia.com/gpu"] = requests["nvidia.com/gpu"] = str(size.gpus)
    return {"requests": requests, "limits": limits}


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")


def merged(manifest: Any, patch: Any, *, key: str = "") -> Any:
    """A strategic merge: objects by field (null removes one), lists of objects by their name."""
    if isinstance(manifest, dict) and isinstance(patch, dict):
        made = dict(manifest)
        for name, change in patch.items():
            if change is None:
                made.pop(name, None)
            else:
                made[name] = merged(made.get(name), change, key=name)
        return made
    if isinstance(manifest, list) and isinstance(patch, list):
        if key in _APPENDED:
            return manifest + patch
        if key in _MERGE_KEYS:
            return _merged_lists(manifest, patch, _MERGE_KEYS[key])
    return patch


def _merged_lists(manifest: list[Json], patch: list[Json], by: str) -> list[Json]:
    made = {one[by]: one for one in manifest}
    for change in patch:
        if change.get("$patch") == "delete":
            made.pop(change[by], None)
        else:
            made[change[by]] = merged(made.get(change[by]), change)
    return list(made.values())


@cache
def _text(path: Path) -> str:
    return path.read_text()


def read_yaml(path: Path) -> Json:
    """A manifest or a patch from its file; ValueError unless it is one object."""
    found = yaml.safe_load(_text(path))
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {type(found).__name__}, not one Kubernetes object")
    return found
