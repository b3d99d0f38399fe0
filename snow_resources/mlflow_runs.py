"""Write a record to MLflow as a run with datasets, metrics and a registered model.

Recording is idempotent: a run is looked up by the artifact's fingerprint and digest, and completed.
The runs of a recipe are nested under a run of the recipe's name.
"""

import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import fsspec
import mlflow
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from snow_resources.mlflow_models import logged_model_id, parent_model_id, promote, register_model
from snow_resources.mlflow_store import prepare_store, store_path
from snow_resources.mlflow_values import (
    DIGEST_CHARS,
    last_step,
    log_values,
    record_metrics,
    record_params,
)
from snow_resources.tracking import PENDING_DIGEST, Record, TrackedAlias, TrackedDataset

EXPERIMENT = "snow"
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
"""Without this tag MLflow's UI prompts for the experiment's kind, and may show it as GenAI."""
_PARENT_TAG, _STEP_TAG = "mlflow.parentRunId", "snow.logged_step"
UNREACHABLE = (MlflowException, SQLAlchemyError, OSError)
"""Errors of a store that is down, locked, full or refuses a record."""
_ARTIFACT_ERRORS = (*UNREACHABLE, Boto3Error, BotoCoreError, ClientError, ImportError)
"""Errors of an artifact store, which MLflow reaches by the store's own client: boto3's for S3.
ImportError: the client is not installed."""


def is_refusal(error: Exception) -> bool:
    """Whether MLflow will never accept the record as it is, so that a retry is useless."""
    return isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE"


def client_of(uri: str) -> MlflowClient:
    """A client of this store; sets only the tracking URI in MLflow's global state."""
    prepare_store(uri)
    # Without a server, the registry resolves models:/ by the process's tracking URI.
    mlflow.set_tracking_uri(uri)
    return _client(uri)


@lru_cache(maxsize=8)
def _client(uri: str) -> MlflowClient:
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)  # a line per migration
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient) -> str:
    # MLflow's default for a SQLite store is a folder of the working directory.
    store = store_path(client.tracking_uri)
    artifacts = str((store.parent / "mlflow-artifacts" / EXPERIMENT).absolute()) if store else None
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            experiment_id = str(client.create_experiment(EXPERIMENT, artifacts, {_KIND_TAG: _KIND}))
        except MlflowException:
            # Created by another process; otherwise raise MLflow's error.
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
        else:
            return experiment_id
    if experiment.tags.get(_KIND_TAG) != _KIND:
        client.set_experiment_tag(experiment.experiment_id, _KIND_TAG, _KIND)
    return str(experiment.experiment_id)


def write(uri: str, record: Record) -> dict[str, str]:
    """Record a materialization unless it is recorded, and return its ids.

    An incomplete record of an earlier attempt is completed. The recipe's alias is set to a promoted
    model in any case, also if the recipe returns to an earlier model.
    """
    client = client_of(uri)
    experiment = _experiment(client)
    runs = _runs(client, experiment, record)
    for run in runs:
        if run.data.tags.get("snow.complete") == "true" and (ids := _ids(client, run, record)):
            promote(client, record, ids.get("mlflow_model_version"))
            _delete_pending(client, runs)
            return ids
    run_id = str(runs[0].info.run_id) if runs else _create_run(client, experiment, record)
    _delete_pending(client, runs[1:])
    parent_model = parent_model_id(client, record)
    _log_inputs(client, run_id, record, parent_model)
    ids = {"mlflow_run_id": run_id, "mlflow_experiment_id": experiment}
    model_id = None
    if record.model:
        model_id, version = register_model(client, experiment, run_id, record, parent_model)
        outputs = client.get_run(run_id).outputs
        if model_id not in {entry.model_id for entry in (outputs.model_outputs if outputs else [])}:
            output = LoggedModelOutput(model_id=model_id, step=last_step(record))
            client.log_outputs(run_id, [output])
        ids |= {"mlflow_model_id": model_id, "mlflow_model_version": version}
        promote(client, record, version)
    # An open run has the tags of its first attempt, and a pending data version.
    tags = record.tags | {f"snow.{name}": value for name, value in ids.items()}
    params = [Param(name, value) for name, value in record_params(record).items()]
    metrics = record_metrics(record, model_id, after_step=_logged_step(client.get_run(run_id)))
    log_values(client, run_id, metrics, params=params, tags=_tags(tags))
    _log_plots(client, run_id, record)
    client.set_terminated(run_id, "FINISHED", end_time=int(record.ended * 1000))
    client.set_tag(run_id, "snow.complete", "true")  # last: until then the run is completed again
    return ids


def read_aliases(uri: str) -> list[TrackedAlias]:
    """The recipes' aliases of all models that Snow registered; one of `UNREACHABLE` if it cannot be
    read."""
    client = client_of(uri)
    aliases = []
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        for model in page:
            for recipe, version in model.aliases.items():
                tags = client.get_model_version(model.name, version).tags
                if not {"folder", "data_version"} <= tags.keys():
                    continue  # of a version that Snow did not register
                aliases.append(
                    TrackedAlias(
                        model=model.name,
                        recipe=recipe,
                        folder=tags["folder"],
                        data_version=tags["data_version"],
                    )
                )
        token = page.token
        if not token:
            return aliases


def set_alias(uri: str, alias: TrackedAlias) -> bool:
    """Set an alias to its artifact's model; False if the store has no such model."""
    client = client_of(uri)
    versions = client.search_model_versions(
        f"name = '{alias.model}' and tags.data_version = '{alias.data_version}'"
    )
    for version in versions:
        if version.tags.get("folder") == alias.folder:
            client.set_registered_model_alias(alias.model, alias.recipe, version.version)
            return True
    return False


def _log_plots(client: MlflowClient, run_id: str, record: Record) -> None:
    """Log the output's plots as artifacts of the run. The lake keeps them: where the server's
    artifact store refuses them, a warning is logged, and the record is complete without them."""
    try:
        if not _has_artifact_store(client, client.get_run(run_id)):
            return
        with tempfile.TemporaryDirectory(prefix="plots-") as scratch:
            for name, file in record.plots.items():
                path = Path(scratch) / f"{name}.png"
                with fsspec.open(f"{record.output.url}/{file}", "rb") as plot:
                    path.write_bytes(plot.read())
                client.log_artifact(run_id, str(path), "plots")
    except _ARTIFACT_ERRORS as error:
        logging.getLogger(__name__).warning("%s has no plots in MLflow: %s", record.asset, error)


def _has_artifact_store(client: MlflowClient, run: Any) -> bool:
    """False for a path on the server's machine, or outside the folder of a SQLite store."""
    url = urlparse(run.info.artifact_uri)
    if url.scheme not in ("", "file"):
        return True
    store = store_path(client.tracking_uri)
    return store is not None and Path(url.path).is_relative_to(store.parent.absolute())


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """The MLflow run of a materialization that is in progress."""

    experiment_id: str
    run_id: str
    model_id: str | None
    last_step: int | None
    """Metrics of steps up to this one are logged already."""


def open_run(uri: str, record: Record) -> OpenRun:
    """Create the run of a record whose output is pending, or go on with the fingerprint's."""
    client = client_of(uri)
    experiment = _experiment(client)
    runs = [run for run in _runs(client, experiment, record) if _is_pending(run)]
    run_id = str(runs[0].info.run_id) if runs else _create_run(client, experiment, record)
    client.update_run(run_id, status="RUNNING")
    parent_model = parent_model_id(client, record)
    _log_inputs(client, run_id, record, parent_model)
    model_id = None
    if record.model:
        model_id = logged_model_id(client, experiment, run_id, record, parent_model)
    return OpenRun(
        experiment_id=experiment,
        run_id=run_id,
        model_id=model_id,
        last_step=_logged_step(runs[0]) if runs else None,
    )


def log_steps(uri: str, run: OpenRun, record: Record) -> OpenRun:
    """Log the record's metrics of steps after those that are logged; the first entry of a step
    counts, since MLflow cannot replace it."""
    entries, last_logged = [], run.last_step
    for entry in record.metrics:
        if last_logged is None or int(entry["step"]) > last_logged:
            entries.append(entry)
            last_logged = int(entry["step"])
    if last_logged == run.last_step:
        return run
    metrics = record_metrics(replace(record, metrics=entries, stats={}), run.model_id)
    # Metrics come before the tag: a kill in between repeats equal points, which MLflow drops.
    log_values(client_of(uri), run.run_id, metrics, tags=_tags({_STEP_TAG: str(last_logged)}))
    return replace(run, last_step=last_logged)


def fail_run(uri: str, run: OpenRun) -> None:
    """Show the run as failed; a later attempt goes on with it."""
    client_of(uri).set_terminated(run.run_id, "FAILED")


def _is_pending(run: Any) -> bool:
    return bool(run.data.tags["data_version"] == PENDING_DIGEST)


def _delete_pending(client: MlflowClient, runs: Sequence[Any]) -> None:
    """Delete open runs of an artifact that another run records."""
    for run in filter(_is_pending, runs):
        client.delete_run(run.info.run_id)


def _logged_step(run: Any) -> int | None:
    step = run.data.tags.get(_STEP_TAG)
    return None if step is None else int(step)


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


def _log_inputs(
    client: MlflowClient, run_id: str, record: Record, parent_model: str | None
) -> None:
    """Log input and output datasets and the parent model, which MLflow accepts only once."""
    inputs = client.get_run(run_id).inputs
    logged = {entry.model_id for entry in (inputs.model_inputs or [])} if inputs else set()
    is_new = parent_model is not None and parent_model not in logged
    datasets = [_dataset(dataset, "input") for dataset in record.inputs]
    if record.output.digest != PENDING_DIGEST:
        datasets.append(_dataset(record.output, "output"))
    client.log_inputs(
        run_id,
        datasets=datasets,
        models=[LoggedModelInput(model_id=str(parent_model))] if is_new else None,
    )


def _runs(client: MlflowClient, experiment: str, record: Record) -> list[Any]:
    """The runs of this artifact, complete, incomplete or in progress, the oldest first."""
    runs = client.search_runs(
        [experiment],
        f"tags.`snow.fingerprint` = '{record.tags['snow.fingerprint']}'",
        order_by=["attributes.start_time ASC"],
    )
    return [
        run
        for run in runs
        if run.data.tags["dagster.asset_key"] == record.asset
        and run.data.tags["data_version"] in (record.output.digest, PENDING_DIGEST)
    ]


def _ids(client: MlflowClient, run: Any, record: Record) -> dict[str, str] | None:
    """The ids in a complete run's tags; None if its model was deleted since."""
    ids = {
        name.removeprefix("snow."): str(value)
        for name, value in run.data.tags.items()
        if name.startswith("snow.mlflow_")
    }
    if record.model is None:
        return ids
    try:
        client.get_model_version(record.model.name, ids["mlflow_model_version"])
        client.get_logged_model(ids["mlflow_model_id"])
    except (KeyError, MlflowException) as error:
        if isinstance(error, KeyError) or error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return ids


def _create_run(client: MlflowClient, experiment: str, record: Record) -> str:
    name = record.asset if record.partition == "all" else f"{record.asset} [{record.partition}]"
    run = client.create_run(
        experiment,
        start_time=int(record.started * 1000),
        tags={**record.tags, _PARENT_TAG: _recipe_run(client, experiment, record.recipe)},
        run_name=name,
    )
    return str(run.info.run_id)


def _recipe_run(client: MlflowClient, experiment: str, recipe: str) -> str:
    """The run under which those of a recipe are nested."""
    runs = client.search_runs([experiment], f"tags.`snow.recipe_run` = '{recipe}'", max_results=1)
    if runs:
        return str(runs[0].info.run_id)
    now = int(time.time() * 1000)
    tags = {"snow.recipe_run": recipe, "recipe": recipe}
    run = client.create_run(experiment, start_time=now, tags=tags, run_name=f"recipe {recipe}")
    client.set_terminated(run.info.run_id, "FINISHED", end_time=now)
    return str(run.info.run_id)


def _dataset(dataset: TrackedDataset, context: str) -> Any:
    return DatasetInput(
        Dataset(
            name=dataset.name,
            digest=dataset.digest[:DIGEST_CHARS],
            source_type="lake",
            source=json.dumps({"uri": dataset.url}),
        ),
        [InputTag("mlflow.data.context", context), InputTag("sha256", dataset.digest)],
    )
