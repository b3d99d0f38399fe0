"""Records of materializations, and a real MLflow store for them."""

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from snow_resources.tracking import (
    Record,
    RunLink,
    TrackedDataset,
    TrackedModel,
    Tracking,
    materialization_record,
)

RECIPE = "TINY"
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nobody listens


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def dataset(name: str, version: str = "") -> TrackedDataset:
    digest = sha(name + version)
    return TrackedDataset(name=f"{name}/all", url=f"/lake/{name}/all/{digest[:8]}", digest=digest)


def a_record(
    asset: str,
    *,
    inputs: Sequence[str] = (),
    model: TrackedModel | None = None,
    config: Any = None,
    stats: dict[str, Any] | None = None,
    metrics: Sequence[dict[str, Any]] = (),
    version: str = "",
    recipe: str = RECIPE,
) -> Record:
    return materialization_record(
        asset=asset,
        partition="all",
        recipe=recipe,
        code_version="1",
        config=config or {},
        inputs=[dataset(name) for name in inputs],
        output=dataset(asset, version),
        stats=stats or {},
        metrics=metrics,
        model=model,
        started=time.time() - 5,
        ended=time.time(),
        dagster_run_id="r",
        git_commit="c",
    )


def record(tracking: Tracking, asset: str, **fields: Any) -> RunLink:
    return tracking.record(logging.getLogger("test"), a_record(asset, **fields))


def run_of(store: str, link: RunLink) -> Any:
    from snow_resources.mlflow_runs import client_of

    return client_of(store).get_run(link.ids["mlflow_run_id"])
