"""Deletes Jobs that nobody waits for: their runs are over, and so is a time of grace.

A run that was killed cannot take its claim back, and its Job would go on for nobody. The grace is
for its retry, which adopts the Job.
"""

import time
from collections.abc import Callable
from datetime import datetime

from snow_resources.job_claims import claims
from snow_resources.kubernetes_api import KubernetesApi

EndOfRun = Callable[[str], float | None]
"""A run's id -> when it ended, in seconds since the epoch; None: it goes on, or is not ours."""


def delete_unclaimed(
    api: KubernetesApi, *, end_of_run: EndOfRun, grace_seconds: float
) -> list[str]:
    """The names of the Jobs that were deleted; a Job that is claimed meanwhile is not."""
    deleted = []
    for job in api.list("jobs", labelSelector="app.kubernetes.io/managed-by=snow"):
        metadata, conditions = job["metadata"], job["status"].get("conditions") or ()
        if metadata.get("deletionTimestamp") or any(one["status"] == "True" for one in conditions):
            continue
        ends = [end_of_run(run_id) for run_id in claims(job)]
        if None in ends:
            continue
        created = datetime.strptime(metadata["creationTimestamp"], "%Y-%m-%dT%H:%M:%S%z")
        known = [created.timestamp(), *(end for end in ends if end is not None)]
        if time.time() - max(known) > grace_seconds and api.delete(
            "jobs", metadata["name"], unchanged=job
        ):
            deleted.append(metadata["name"])
    return deleted
