"""The code location: assets, checks, resources, jobs, schedules, sensors."""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from snow_assets.defs import (
    automation,
    corpus_checks,
    curation_checks,
    evaluation_checks,
    experiments_checks,
    orphan_cleanup,
    pretraining,
    pretraining_checks,
    quality_checks,
    synthesis_checks,
    whole_recipe,
)
from snow_assets.defs.dagster_assets import stage_assets
from snow_assets.defs.graph import STAGES
from snow_assets.defs.recipe_page import recipe_spec
from snow_assets.home import CHECKOUT, home
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.tables import assets as tables
from snow_resources.gpu_jobs import GpuJobs
from snow_resources.kubernetes_jobs import kubernetes_jobs
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.publishing import Warehouse
from snow_resources.teacher import Teacher
from snow_resources.tracking import Tracking, default_ui_url

_CHECK_MODULES = [
    corpus_checks,
    curation_checks,
    evaluation_checks,
    experiments_checks,
    quality_checks,
    synthesis_checks,
]


_IN_CLUSTER = bool(os.environ.get("SNOW_JOBS"))


def warehouse_path() -> Path:
    """Where the published tables lie."""
    return home() / "warehouse.duckdb"


def mlflow_uri() -> str:
    """The MLflow store: a server, or a SQLite file of this installation."""
    return os.environ.get("SNOW_MLFLOW", f"sqlite:///{home() / 'mlflow.db'}")


def _jobs(lake: str) -> GpuJobs:
    """Kubernetes Jobs as the file that SNOW_JOBS names has them; else this machine's processes."""
    url = f"{lake}/jobs"
    if settings := os.environ.get("SNOW_JOBS"):
        return kubernetes_jobs(Path(settings), url=url)
    vllm_python = str(CHECKOUT / ".venv-vllm" / "bin" / "python")
    return LocalJobs(url=url, vllm_python=os.environ.get("SNOW_VLLM_PYTHON", vllm_python))


def resources(recipe: Recipe) -> dict[str, Any]:
    """The resources of this installation, as the environment sets them."""
    lake = os.environ.get("SNOW_LAKE", str(home() / "lake"))
    return {
        "recipe": recipe,
        "lake": Lake(url=lake),
        "jobs": _jobs(lake),
        "teacher": Teacher(url=os.environ.get("SNOW_TEACHER_URL", "")),
        "tracking": Tracking(
            uri=mlflow_uri(),
            spool=str(home() / "mlflow-spool"),
            ui_url=default_ui_url(mlflow_uri(), os.environ),
        ),
        "warehouse": Warehouse(project=tables.PROJECT, path=str(warehouse_path())),
    }


_RESOURCES = resources(chosen_recipe())

defs = dg.Definitions(
    assets=[
        *stage_assets(
            STAGES,
            chosen_recipe(),
            in_cluster=_IN_CLUSTER,
            k8s_config=_RESOURCES["jobs"].assets if _IN_CLUSTER else {},
            mlflow_url=default_ui_url(mlflow_uri(), os.environ),
        ),
        tables.tables,
        recipe_spec(chosen_recipe()),
    ],
    asset_checks=[
        *dg.load_asset_checks_from_modules(_CHECK_MODULES),
        *pretraining_checks.phase_checks(
            chosen_recipe().pretraining.phases, pretraining.PACKS, pretraining.CHECKPOINTS
        ),
    ],
    jobs=[
        whole_recipe.whole_recipe,
        automation.shared_steps,
        automation.read_sources,
        automation.curate_languages,
        automation.read_grades,
        *([orphan_cleanup.orphan_cleanup_job] if _IN_CLUSTER else []),
    ],
    schedules=[orphan_cleanup.orphan_cleanup_schedule] if _IN_CLUSTER else [],
    sensors=[automation.automation],
    resources=_RESOURCES,
)
