"""Kubernetes manifest of a job: the template of `k8s/`, the job's size, then a site's patches."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from snow_resources.gpu_jobs import ENGINE, Job, JobSize, command

Json = dict[str, Any]

TEMPLATE = Path(__file__).resolve().parents[1] / "k8s" / "job.yaml"

DIGEST = "snow/digest"
LEASE_PREFIX = "snow-claim/"
SHARDS = "snow/shards"
"""The label with the job's digest; the prefix of the lease annotations, one per run that waits; and
the annotation with the number of pods that share the work."""

_BACKOFF_LIMIT_PER_SHARD = 3

# Merge keys of lists of objects; other lists are appended to (tolerations) or replaced.
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
_APPENDED_LISTS = ("tolerations", "envFrom", "matchExpressions", "nodeSelectorTerms")


def job_name(job: Job, attempt: int) -> str:
    """The Job's name: a DNS label of at most 52 characters, as an index and a suffix are added."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{job.asset}-{job.partition}".lower()).strip("-")
    return f"{slug[:36].strip('-')}-{job.digest[:10]}-{attempt}"


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
    """Render the Job. `environment` holds no secrets: a site's patches reference those."""
    manifest = read_yaml(TEMPLATE)
    labels = {DIGEST: job.digest, "snow/asset": job.asset, "snow/partition": _label(job.partition)}
    metadata, spec = manifest["metadata"], manifest["spec"]
    metadata["name"] = job_name(job, attempt)
    metadata["labels"] |= labels
    metadata["annotations"] = {f"{LEASE_PREFIX}{run_id}": "waits", SHARDS: str(num_shards)}
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
        spec |= _indexed_spec(num_shards, parallelism, has_failure_policy=has_failure_policy)
        environment = {**environment, "SNOW_SHARDS": str(num_shards)}
    if size.environment == ENGINE:  # a failed pod is restarted and joins the others again
        spec |= _indexed_spec(size.nodes, size.nodes, has_failure_policy=has_failure_policy)
    elif size.nodes > 1:  # a failed pod fails the Job, and the next attempt resumes
        spec |= {"completionMode": "Indexed", "completions": size.nodes, "parallelism": size.nodes}
    template = spec["template"]
    template["metadata"]["labels"] |= labels
    # The pod's limit, not the Job's: time in a queue does not count.
    template["spec"]["activeDeadlineSeconds"] = run_seconds
    (container,) = template["spec"]["containers"]
    container["image"] = image
    container["command"] = command(job, attempt, size, python)
    container["env"] += [{"name": name, "value": value} for name, value in environment.items()]
    container["env"].append(
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    )
    container["resources"] = _resources(size)
    (shm,) = (volume for volume in template["spec"]["volumes"] if volume["name"] == "shm")
    shm["emptyDir"]["sizeLimit"] = f"{max(1, size.memory_gib // 2)}Gi"  # it counts as memory
    for patch in patches:
        manifest = strategic_merge(manifest, patch)
    return manifest


def _indexed_spec(num_shards: int, parallelism: int, *, has_failure_policy: bool) -> Json:
    """Spec fields of an indexed Job, whose pods share the work. A failed pod is restarted and
    resumes; a server without backoff limits per index counts the failures of all pods."""
    spec = {
        "completionMode": "Indexed",
        "completions": num_shards,
        "parallelism": min(parallelism, num_shards),
    }
    spec["backoffLimit"] = _BACKOFF_LIMIT_PER_SHARD * num_shards
    if has_failure_policy:
        spec |= {"backoffLimitPerIndex": _BACKOFF_LIMIT_PER_SHARD, "maxFailedIndexes": 0}
    return spec


def _resources(size: JobSize) -> Json:
    memory = f"{size.memory_gib}Gi"
    requests: Json = {"cpu": str(size.cpus), "memory": memory}
    limits: Json = {"memory": memory}  # no CPU limit: it would only throttle
    if size.gpus:
        limits["nvidia.com/gpu"] = requests["nvidia.com/gpu"] = str(size.gpus)
    return {"requests": requests, "limits": limits}


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")


def strategic_merge(manifest: Any, patch: Any, *, key: str = "") -> Any:
    """Apply a strategic merge patch: objects by field (null removes it), lists by merge key."""
    if isinstance(manifest, dict) and isinstance(patch, dict):
        merged = dict(manifest)
        for name, change in patch.items():
            if change is None:
                merged.pop(name, None)
            else:
                merged[name] = strategic_merge(merged.get(name), change, key=name)
        return merged
    if isinstance(manifest, list) and isinstance(patch, list):
        if key in _APPENDED_LISTS:
            return manifest + patch
        if key in _MERGE_KEYS:
            return _merge_lists(manifest, patch, _MERGE_KEYS[key])
    return patch


def _merge_lists(manifest: list[Json], patch: list[Json], merge_key: str) -> list[Json]:
    by_key = {item[merge_key]: item for item in manifest}
    for change in patch:
        if change.get("$patch") == "delete":
            by_key.pop(change[merge_key], None)
        else:
            by_key[change[merge_key]] = strategic_merge(by_key.get(change[merge_key]), change)
    return list(by_key.values())


@cache
def _read_text(path: Path) -> str:
    return path.read_text()


def read_yaml(path: Path) -> Json:
    """Read a manifest or a patch from a file; ValueError unless it is a single object."""
    content = yaml.safe_load(_read_text(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not one Kubernetes object")
    return content
