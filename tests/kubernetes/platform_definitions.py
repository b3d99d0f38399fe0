"""The platform's code location with two assets more: quick work as a Job, and endless work."""

import os
from typing import Any

import dagster as dg

from snow_assets import definitions
from snow_resources.gpu_jobs import GpuJobs, JobSize
from tests.kubernetes.work_job import Work, Worked

SIZE = JobSize(cpus=0, memory_gib=1)


def _work(context: dg.AssetExecutionContext, jobs: GpuJobs, **numbers: Any) -> Any:
    request = Work(output=f"{os.environ['SNOW_LAKE']}/{context.asset_key.path[-1]}", **numbers)
    done = jobs.run(
        context,
        "tests.kubernetes.work_job",
        request,
        report=Worked,
        code_version="1",
        size=SIZE,
    )
    return dg.MaterializeResult(metadata={"made": done.reports[0].made})


@dg.asset(deps=["opt_outs"])
def worked(context: dg.AssetExecutionContext, jobs: GpuJobs) -> Any:
    return _work(context, jobs)


@dg.asset
def working(context: dg.AssetExecutionContext, jobs: GpuJobs) -> Any:
    return _work(context, jobs, num_parts=600, part_seconds=1.0)


defs = dg.Definitions.merge(
    definitions.defs,
    dg.Definitions(
        assets=[worked, working],
        jobs=[
            dg.define_asset_job("first", selection=["opt_outs", "worked"]),
            dg.define_asset_job("endless", selection=["working"]),
        ],
    ),
)
