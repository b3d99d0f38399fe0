"""Leases of runs on Kubernetes Jobs: an annotation on the Job for each run that waits for it.

A run creates the Job with its lease, or adds its lease to an existing Job. A cancelled run releases
its lease; the release of the last one deletes the Job.
"""

from collections.abc import Callable
from typing import Any

from snow_resources.job_manifest import DIGEST, LEASE_PREFIX
from snow_resources.kubernetes_api import KubernetesApi, KubernetesRefusedError, until

Json = dict[str, Any]

_DELETION_SECONDS = 600.0  # a pod's grace period and the kubelet's delay; a lost node takes longer


def acquire_lease(api: KubernetesApi, manifest: Json, *, run_id: str) -> Json | None:
    """Create the Job of this manifest, or adopt an existing one, with this run's lease on it.

    Returns None if the existing Job is being deleted, after its deletion has completed. Raises
    KubernetesRefusedError for a Job of the same name with another digest.
    """
    metadata = manifest["metadata"]
    created = api.create("jobs", manifest)
    if created is not None:
        return created
    existing = api.get("jobs", metadata["name"])
    if existing is None or existing["metadata"].get("deletionTimestamp"):
        wait_until_deleted(api, metadata["name"])
        return None
    digest, expected_digest = (
        existing["metadata"].get("labels", {}).get(DIGEST),
        metadata["labels"][DIGEST],
    )
    if digest != expected_digest:
        raise KubernetesRefusedError(
            f"Job {metadata['name']} exists with digest {digest}, not {expected_digest}: something "
            "else created it; delete it, and materialize again"
        )
    return api.patch(
        "jobs",
        metadata["name"],
        {"metadata": {"annotations": {f"{LEASE_PREFIX}{run_id}": "waits"}}},
    )


def lease_holders(job: Json) -> list[str]:
    """The ids of the runs that hold a lease on a Job."""
    annotations = job["metadata"].get("annotations") or {}
    return sorted(
        name.removeprefix(LEASE_PREFIX) for name in annotations if name.startswith(LEASE_PREFIX)
    )


def release_lease(
    api: KubernetesApi, name: str, *, run_id: str, is_finished: Callable[[str], bool]
) -> bool:
    """Release a run's lease; True if it was the last one and the Job has been deleted.

    Leases of finished runs do not count: a killed run cannot release its own.
    """
    while (job := api.get("jobs", name)) is not None:
        holders = lease_holders(job)
        active = [holder for holder in holders if holder != run_id and not is_finished(holder)]
        if active:
            released = {
                f"{LEASE_PREFIX}{holder}": None for holder in holders if holder not in active
            }
            change = {
                "metadata": {
                    "annotations": released,
                    "resourceVersion": job["metadata"]["resourceVersion"],
                }
            }
            if api.patch("jobs", name, change) is not None:
                return False
        elif job["metadata"].get("deletionTimestamp") or api.delete("jobs", name, unchanged=job):
            break
    wait_until_deleted(api, name)
    return True


def wait_until_deleted(api: KubernetesApi, name: str) -> None:
    """Wait for the deletion of a Job and its pods, for at most 10 minutes."""
    until(lambda: api.get("jobs", name) is None, seconds=_DELETION_SECONDS)
