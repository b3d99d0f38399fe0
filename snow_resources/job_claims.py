"""Who waits for a Job: each run that does has an annotation on it, its claim.

A Job is created with its first claim or found and claimed; a cancelled run drops its claim, and
the last one to do so deletes the Job. Nothing else here deletes one.
"""

from collections.abc import Callable
from typing import Any

from snow_resources.job_manifest import CLAIM, DIGEST
from snow_resources.kubernetes_api import KubernetesApi, KubernetesRefusedError, until

Json = dict[str, Any]

_GONE_SECONDS = 600.0  # a pod's grace and its kubelet's slowness; a lost node takes longer


def claimed(api: KubernetesApi, manifest: Json, *, run_id: str) -> Json | None:
    """The Job of this manifest with this run's claim on it, new or found.

    None if it is being deleted: it is waited for, and then gone.
    """
    metadata = manifest["metadata"]
    made = api.create("jobs", manifest)
    if made is not None:
        return made
    found = api.get("jobs", metadata["name"])
    if found is None or found["metadata"].get("deletionTimestamp"):
        wait_until_gone(api, metadata["name"])
        return None
    digest, ours = found["metadata"].get("labels", {}).get(DIGEST), metadata["labels"][DIGEST]
    if digest != ours:
        raise KubernetesRefusedError(
            f"Job {metadata['name']} is there with digest {digest}, not {ours}: something else "
            "made it; delete it, and materialize again"
        )
    return api.patch(
        "jobs", metadata["name"], {"metadata": {"annotations": {f"{CLAIM}{run_id}": "waits"}}}
    )


def claims(job: Json) -> list[str]:
    """The runs that claim a Job."""
    annotations = job["metadata"].get("annotations") or {}
    return sorted(name.removeprefix(CLAIM) for name in annotations if name.startswith(CLAIM))


def drop_claim(
    api: KubernetesApi, name: str, *, run_id: str, is_finished: Callable[[str], bool]
) -> bool:
    """Take a run's claim back; True if it was the last one, and the Job is deleted and gone.

    Claims of runs that are over (one killed could not take its own back) do not count.
    """
    while (job := api.get("jobs", name)) is not None:
        others = [one for one in claims(job) if one != run_id and not is_finished(one)]
        if others:
            dropped = {f"{CLAIM}{one}": None for one in claims(job) if one not in others}
            change = {
                "metadata": {
                    "annotations": dropped,
                    "resourceVersion": job["metadata"]["resourceVersion"],
                }
            }
            if api.patch("jobs", name, change) is not None:
                return False
        elif job["metadata"].get("deletionTimestamp") or api.delete("jobs", name, unchanged=job):
            break
    wait_until_gone(api, name)
    return True


def wait_until_gone(api: KubernetesApi, name: str) -> None:
    """Until a Job that is being deleted is gone with its pods; it goes on without us after that."""
    until(lambda: api.get("jobs", name) is None, seconds=_GONE_SECONDS)
