"""Write a record to MLflow as a run with datasets, metrics and a registered model.

Recording is idempotent: a run is looked up by the artifact's fingerprint and digest, and completed.
The runs of a recipe are nested under a run of the recipe's name.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from snow_resources.mlflow_store import prepare_store
from snow_resources.tracking import Record, TrackedDataset

EXPERIMENT = "snow"
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
"""Without this tag MLflow's UI prompts for the experiment's kind, and may show it as GenAI."""
_PARENT_TAG = "mlflow.parentRunId"
UNREACHABLE = (MlflowException, SQLAlchemyError, OSError)
"""Errors of a store that is down, locked, full or refuses a record."""


def is_refusal(error: Exception) -> bool:
    """Whether MLflow will never accept the record as it is, so that a retry is useless."""
    return isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE"


# The tracking server's limits per request.
_MAX_METRICS, _MAX_PARAMS = 1_000, 100
_MAX_VALUE_CHARS = 500
DIGEST_CHARS = 32
"""Prefix of a sha256 as a dataset's digest: MLflow's limit is 36. The whole is the input's tag."""


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
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            experiment_id = str(client.create_experiment(EXPERIMENT, tags={_KIND_TAG: _KIND}))
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
            _promote(client, record, ids.get("mlflow_model_version"))
            return ids
    run_id = str(runs[0].info.run_id) if runs else _create_run(client, experiment, record)
    parent_model = _parent_model(client, record)
    _log_inputs(client, run_id, record, parent_model)
    ids = {"mlflow_run_id": run_id, "mlflow_experiment_id": experiment}
    model_id = None
    if record.model:
        model_id, version = _register_model(client, experiment, run_id, record, parent_model)
        outputs = client.get_run(run_id).outputs
        if model_id not in {entry.model_id for entry in (outputs.model_outputs if outputs else [])}:
            output = LoggedModelOutput(model_id=model_id, step=_last_step(record))
            client.log_outputs(run_id, [output])
        ids |= {"mlflow_model_id": model_id, "mlflow_model_version": version}
        _promote(client, record, version)
    id_tags = [RunTag(f"snow.{name}", value) for name, value in ids.items()]
    _log(client, run_id, record, id_tags, model_id=model_id)
    client.set_terminated(run_id, "FINISHED", end_time=int(record.ended * 1000))
    client.set_tag(run_id, "snow.complete", "true")  # last: until then the run is completed again
    return ids


def _log_inputs(
    client: MlflowClient, run_id: str, record: Record, parent_model: str | None
) -> None:
    """Log input and output datasets and the parent model, which MLflow accepts only once."""
    inputs = client.get_run(run_id).inputs
    logged = {entry.model_id for entry in (inputs.model_inputs or [])} if inputs else set()
    is_new = parent_model is not None and parent_model not in logged
    client.log_inputs(
        run_id,
        datasets=[_dataset(dataset, "input") for dataset in record.inputs]
        + [_dataset(record.output, "output")],
        models=[LoggedModelInput(model_id=str(parent_model))] if is_new else None,
    )


def _runs(client: MlflowClient, experiment: str, record: Record) -> list[Any]:
    """The runs of this artifact, complete or not, the oldest first."""
    tags = record.tags
    runs = client.search_runs(
        [experiment],
        f"tags.`snow.fingerprint` = '{tags['snow.fingerprint']}'"
        f" and tags.data_version = '{tags['data_version']}'",
        max_results=10,
        order_by=["attributes.start_time ASC"],
    )
    return [run for run in runs if run.data.tags["dagster.asset_key"] == record.asset]


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


def _parent_model(client: MlflowClient, record: Record) -> str | None:
    """The logged model of exactly the input checkpoint, not of a newer version."""
    if not (record.model and record.model.parent):
        return None
    name, digest = record.model.parent, record.parent_digest
    versions = client.search_model_versions(f"name = '{name}' and tags.data_version = '{digest}'")
    return str(versions[0].tags["model_id"]) if versions else None


def _register_model(
    client: MlflowClient, experiment: str, run_id: str, record: Record, parent: str | None
) -> tuple[str, str]:
    """Log the output as an external model and register it; return its id and version."""
    assert record.model is not None
    name = record.model.name
    tags = {
        # MLflow's tag for weights stored outside its artifact store.
        "mlflow.model.isExternal": "true",
        "folder": record.output.url,
        "data_version": record.output.digest,
        "recipe": record.recipe,
        "is_promoted": str(record.model.is_promoted).lower(),
        **({"parent_model_id": parent} if parent else {}),
    }
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if versions:
        model_id, version = versions[0].tags["model_id"], str(versions[0].version)
    else:
        logged_models = client.search_logged_models(
            [experiment], filter_string=f"source_run_id = '{run_id}'", max_results=1
        )
        logged_model = (
            logged_models[0]
            if logged_models
            else client.create_logged_model(
                experiment,
                name=name,
                source_run_id=run_id,
                tags=tags,
                model_type=record.model.kind,
                params=_params(record),
            )
        )
        model_id = str(logged_model.model_id)
        created = client.create_model_version(
            name, f"models:/{model_id}", run_id=run_id, tags={**tags, "model_id": model_id}
        )
        version = str(created.version)
    # MLflow's page of a logged model names its registered version by this tag.
    version_tag = json.dumps([{"name": name, "version": version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": version_tag})
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return model_id, version


def _promote(client: MlflowClient, record: Record, version: str | None) -> None:
    """Set the recipe's alias to the model, if it is promoted."""
    if record.model is not None and record.model.is_promoted and version is not None:
        client.set_registered_model_alias(record.model.name, record.recipe, version)


def _last_step(record: Record) -> int:
    return max((int(entry["step"]) for entry in record.metrics), default=0)


def _params(record: Record) -> dict[str, str]:
    flat = list(flattened(record.config).items())[:_MAX_PARAMS]
    return {_mlflow_name(name): value[:_MAX_VALUE_CHARS] for name, value in flat}


def _metrics(record: Record, model_id: str | None) -> list[Metric]:
    """Metrics by step, and the manifest's numeric stats as metrics of the last step.

    A stat whose name is also a metric by step is named `final_...`: under the same name it would be
    a spike in the curve. A model's metrics refer to the model and its first input dataset.
    """
    ended = int(record.ended * 1000)
    by_step = {name for entry in record.metrics for name in entry}
    reference: dict[str, Any] = {"model_id": model_id} if model_id else {}
    if model_id and record.inputs:
        first = record.inputs[0]
        reference |= {"dataset_name": first.name, "dataset_digest": first.digest[:DIGEST_CHARS]}
    last = _last_step(record)
    metrics = [
        Metric(
            _mlflow_name(f"final_{name}" if name in by_step else name),
            value,
            ended,
            last,
            **reference,
        )
        for name, value in numeric_stats(record.stats).items()
    ]
    for entry in record.metrics:
        timestamp = int(float(entry.get("time", record.ended)) * 1000)
        metrics += [
            Metric(_mlflow_name(name), float(value), timestamp, int(entry["step"]), **reference)
            for name, value in entry.items()
            if name not in ("step", "time")
        ]
    return metrics


def _log(
    client: MlflowClient, run_id: str, record: Record, tags: Sequence[Any], *, model_id: str | None
) -> None:
    """All parameters, metrics and tags, in as few requests as the server's limits allow."""
    metrics = _metrics(record, model_id)
    params = [Param(name, value) for name, value in _params(record).items()]
    num_metrics = _MAX_METRICS - len(params) - len(tags)
    client.log_batch(run_id, metrics=metrics[:num_metrics], params=params, tags=tags)
    for start in range(num_metrics, len(metrics), _MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS])


def _mlflow_name(name: str) -> str:
    """Replace characters that MLflow refuses in names: it allows letters, digits and `_-. /`."""
    kept = (letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
    return "".join(kept)[:250]


def flattened(config: Any, prefix: str = "") -> dict[str, str]:
    """Flatten nested config to keys such as `corpus.max_file_bytes`; lists become JSON."""
    if not isinstance(config, Mapping):
        text = config if isinstance(config, str) else json.dumps(config)
        return {prefix or "value": text}
    flat: dict[str, str] = {}
    for name, value in config.items():
        flat |= flattened(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def numeric_stats(stats: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten the numbers in nested stats to dotted keys; booleans and lists are left out."""
    flat: dict[str, float] = {}
    for name, value in stats.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= numeric_stats(value, f"{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[key] = float(value)
    return flat
