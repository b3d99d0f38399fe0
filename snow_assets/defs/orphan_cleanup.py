"""Scheduled orphan cleanup: deletes Jobs in the cluster that no run waits for."""

import dagster as dg

from snow_resources.kubernetes_jobs import KubernetesJobs


@dg.op(name="delete_unclaimed_jobs")
def delete_orphaned_jobs(context: dg.OpExecutionContext, jobs: KubernetesJobs) -> None:
    """Delete Jobs that no run waits for any more."""
    context.log.info(f"deleted: {jobs.delete_orphans(context.instance) or 'none'}")


@dg.job(name="unclaimed_jobs")
def orphan_cleanup_job() -> None:
    delete_orphaned_jobs()


@dg.schedule(
    name="quarter_hourly_clean_up",
    job_name="unclaimed_jobs",
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def orphan_cleanup_schedule() -> dg.RunRequest:
    """Every quarter of an hour, where GPU work runs in a cluster."""
    return dg.RunRequest()
