"""The code location: asset modules by name, resources, jobs, schedules, sensors."""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from snow_assets import automation, orphan_cleanup, whole_recipe
from snow_assets.corpus import assets as corpus
from snow_assets.curation import assets as curation
from snow_assets.curation import checks as curation_checks
from snow_assets.evaluation import assets as evaluation
from snow_assets.home import CHECKOUT, home
from snow_assets.pretraining import assets as pretraining
from snow_assets.pretraining import checks as pretraining_checks
from snow_assets.quality import assets as quality
from snow_assets.quality import checks as quality_checks
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.recipe_page import recipe_spec
from snow_assets.synthesis import assets as synthesis
from snow_assets.tables import assets as tables
from snow_resources.gpu_jobs import GpuJobs
from snow_resources.kubernetes_jobs import kubernetes_jobs
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.publishing import Warehouse
from snow_resources.teacher import Teacher
from snow_resources.tracking import Tracking, default_ui_url

ROOMS = [
    corpus,
    curation,
    curation_checks,
    quality,
    quality_checks,
    synthesis,
    pretraining,
    pretraining_checks,
    evaluation,
    tables,
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
    """The sockets of this installation, as the environment sets them."""
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


def _assets() -> list[Any]:
    """All assets; those whose work runs in the cluster say so."""
    found = dg.load_assets_from_modules(ROOMS)
    if not _IN_CLUSTER:
        return list(found)
    return [
        asset.map_asset_specs(lambda spec: spec.merge_attributes(kinds={"kubernetes"}))
        if isinstance(asset, dg.AssetsDefinition) and "jobs" in asset.required_resource_keys
        else asset
        for asset in found
    ]


defs = dg.Definitions(
    assets=[*_assets(), recipe_spec(chosen_recipe())],
    asset_checks=dg.load_asset_checks_from_modules(ROOMS),
    jobs=[
        whole_recipe.whole_recipe,
        automation.shared_steps,
        automation.read_sources,
        automation.curate_languages,
        *([orphan_cleanup.orphan_cleanup_job] if _IN_CLUSTER else []),
    ],
    schedules=[orphan_cleanup.orphan_cleanup_schedule] if _IN_CLUSTER else [],
    sensors=[automation.automation],
    resources=resources(chosen_recipe()),
)
