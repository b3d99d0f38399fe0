"""Runs of single steps in this process, recorded in Dagster as runs of the code location."""

import logging
import sys
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from snow_assets import definitions
from snow_assets.home import CHECKOUT
from snow_assets.recipe import Recipe
from snow_resources.local_runs import process_tags

RECIPE_TAG = "snow/recipe"


class StepRunner:
    """Runs steps sequentially; their log lines go to `logger` as well."""

    def __init__(self, instance: dg.DagsterInstance, logger: logging.Logger) -> None:
        self._instance = instance
        progress = dg.LoggerDefinition(lambda _: logger)
        in_process = dg.Definitions(loggers={"progress": progress}, executor=dg.in_process_executor)
        self.defs = dg.Definitions.merge(definitions.defs, in_process)
        self._job = self.defs.resolve_implicit_global_asset_job_def()

    def run(
        self, keys: Sequence[dg.AssetKey], partition: str | None, recipe: Recipe
    ) -> dg.JobExecutionResult:
        """Materialize assets in a single run in this process; the result holds a failure."""
        selection = frozenset(keys)
        tags = {**self._job.run_tags, **process_tags(), RECIPE_TAG: recipe.name}
        if partition is not None:
            tags |= self._job.get_tags_for_partition_key(partition, selected_asset_keys=selection)
        run = self._instance.create_run_for_job(
            job_def=self._job,
            run_config={"loggers": {"progress": {}}},
            tags=tags,
            asset_selection=selection,
            remote_job_origin=_origin(self._job.name),
        )
        return execute_run(InMemoryJob(self._job), run, self._instance)


def _origin(job: str) -> RemoteJobOrigin:
    """The origin in the code location of `make dev`, by which the UI's timeline groups runs."""
    module = "snow_assets.definitions"
    target = LoadableTargetOrigin(
        executable_path=sys.executable, module_name=module, working_directory=str(CHECKOUT)
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=module)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
