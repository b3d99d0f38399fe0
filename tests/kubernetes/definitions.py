"""A code location with one asset, as SITE names it: what a run worker of its own loads."""

import json
import os

import dagster as dg

from snow_resources.gpu_jobs import JobSize
from snow_resources.kubernetes_jobs import KubernetesJobs
from tests.kubernetes.conftest import worked_asset
from tests.kubernetes.work_job import Work

_site = json.loads(os.environ["SITE"])

defs = dg.Definitions(
    assets=[worked_asset(Work(**_site["request"]), JobSize(cpus=0, memory_gib=1))],
    jobs=[dg.define_asset_job("working", executor_def=dg.in_process_executor)],
    resources={"jobs": KubernetesJobs(**_site["config"])},
)
