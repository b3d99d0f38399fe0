"""The code location: asset modules by name, resources, jobs, schedules, sensors."""

import os
from pathlib import Path
from typing import Any

import dagster as dg

from snow_assets.corpus import assets as corpus
from snow_assets.curation import assets as curation
from snow_assets.curation import checks as curation_checks
from snow_assets.evaluation import assets as evaluation
from snow_assets.home import CHECKOUT, home
from snow_assets.pretraining import assets as pretraining
from snow_assets.pretraining import checks as pretraining_checks
from snow_assets.quality import assets as quality
from snow_assets.quality import checks as quality_checks
from snow_assets.quality import rescoring
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.synthesis import assets as synthesis
from snow_assets.tables import assets as tables
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.publishing import Warehouse
from snow_resources.teacher import Teacher
from snow_resources.tracking import Tracking

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


def warehouse_path() -> Path:
    """Where the published tables lie."""
    return home() / "warehouse.duckdb"


def resources(recipe: Recipe) -> dict[str, Any]:
    """The sockets of this installation, as the environment sets them."""
    lake = os.environ.get("SNOW_LAKE", str(home() / "lake"))
    vllm_python = str(CHECKOUT / ".venv-vllm" / "bin" / "python")
    return {
        "recipe": recipe,
        "lake": Lake(url=lake),
        "jobs": LocalJobs(
            url=f"{lake}/jobs", vllm_python=os.environ.get("SNOW_VLLM_PYTHON", vllm_python)
        ),
        "teacher": Teacher(url=os.environ.get("SNOW_TEACHER_URL", "")),
        "tracking": Tracking(
            uri=os.environ.get("SNOW_MLFLOW", f"sqlite:///{home() / 'mlflow.db'}"),
            spool=str(home() / "mlflow-spool"),
            ui_url=os.environ.get("SNOW_MLFLOW_UI", "http://localhost:5000"),
        ),
        "warehouse": Warehouse(project=tables.PROJECT, path=str(warehouse_path())),
    }


defs = dg.Definitions(
    assets=dg.load_assets_from_modules(ROOMS),
    asset_checks=dg.load_asset_checks_from_modules(ROOMS),
    jobs=[rescoring.rescoring],
    schedules=[rescoring.nightly_rescoring],
    sensors=[rescoring.rescoring_sensor],
    resources=resources(chosen_recipe()),
)
