"""Jobs in the cluster that no run waits for any more: looked for by the clock, and deleted."""

import dagster as dg

from snow_resources.kubernetes_jobs import KubernetesJobs


@dg.op
def delete_unclaimed_jobs(context: dg.OpExecutionContext, jobs: KubernetesJobs) -> None:
    """Delete Jobs that no run waits for any more."""
    context.log.info(f"deleted: {jobs.clean_up(context.instance) or 'none'}")


@dg.job
def unclaimed_jobs() -> None:
    delete_unclaimed_jobs()


@dg.schedule(
    job_name="unclaimed_jobs",
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def quarter_hourly_clean_up() -> dg.RunRequest:
    """Every quarter of an hour, where GPU work runs in a cluster."""
    return dg.RunRequest()
