"""Orphan cleanup: delete Kubernetes Jobs all of whose runs have ended, after a grace period.

A killed run cannot release its lease, and its Job would keep running. During the grace period a
retry of the run can adopt the Job.
"""

import time
from collections.abc import Callable
from datetime import datetime

from snow_resources.kubernetes_api import KubernetesApi
from snow_resources.kubernetes_job_leases import lease_holders

EndOfRun = Callable[[str], float | None]
"""A run's id -> its end, in seconds since the epoch; None: unfinished, or of another instance."""


def delete_orphaned_jobs(
    api: KubernetesApi, *, end_of_run: EndOfRun, grace_seconds: float
) -> list[str]:
    """Delete orphaned Jobs and return their names; a Job leased meanwhile is not deleted."""
    deleted = []
    for job in api.list("jobs", labelSelector="app.kubernetes.io/managed-by=snow"):
        metadata, conditions = job["metadata"], job["status"].get("conditions") or ()
        is_finished = any(condition["status"] == "True" for condition in conditions)
        if metadata.get("deletionTimestamp") or is_finished:
            continue
        ends = [end_of_run(run_id) for run_id in lease_holders(job)]
        if None in ends:
            continue
        created = datetime.strptime(metadata["creationTimestamp"], "%Y-%m-%dT%H:%M:%S%z")
        times = [created.timestamp(), *(end for end in ends if end is not None)]
        if time.time() - max(times) > grace_seconds and api.delete(
            "jobs", metadata["name"], unchanged=job
        ):
            deleted.append(metadata["name"])
    return deleted
