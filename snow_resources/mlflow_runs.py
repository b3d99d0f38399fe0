"""A record in; the run, datasets and registered model that MLflow keeps of it, out."""

import json
import logging
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

from snow_resources.tracking import Record, TrackedDataset

EXPERIMENT = "snow"
UNREACHABLE = (MlflowException, SQLAlchemyError, OSError)
"""What a store raises that is down, locked, full or refuses."""


def is_refusal(error: Exception) -> bool:
    """Whether a record will never be taken as it is, however often it is offered."""
    return isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE"


# What the tracking server takes in one request.
_MAX_METRICS, _MAX_PARAMS = 1_000, 100
_MAX_VALUE_CHARS = 500
DIGEST_CHARS = 32
"""Of a sha256, what names a dataset: MLflow refuses more than 36. The whole is the input's tag."""


def client_of(uri: str) -> MlflowClient:
    """A client of this store; of MLflow's global state only the address is set."""
    # Without a server, the registry resolves models:/ by the process's own address.
    mlflow.set_tracking_uri(uri)
    return _client(uri)


@lru_cache(maxsize=8)
def _client(uri: str) -> MlflowClient:
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)  # a line per migration
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT))
    except MlflowException:
        # Another process was faster; if it was not that, the look-up says what is wrong.
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise
        return str(found.experiment_id)


def write(uri: str, record: Record, *, is_repeated: bool) -> dict[str, str]:
    """Write one finished run and return its ids; a reused generation's run is only found.

    `is_repeated`: an earlier attempt may have written a part, which is completed.
    """
    client = client_of(uri)
    experiment = _experiment(client)
    if record.reused and (known := _known(client, experiment, record)):
        _promoted_again(client, record, known.get("mlflow_model_version"))
        return known
    begun = _begun(client, experiment, record) if is_repeated else None
    run_id = begun or _created(client, experiment, record)
    parent = _parent(client, record)
    client.log_inputs(
        run_id,
        datasets=[_dataset(made, "input") for made in record.inputs]
        + [_dataset(record.output, "output")],
        models=[LoggedModelInput(model_id=parent)] if parent else None,
    )
    ids = {"mlflow_run_id": run_id, "mlflow_experiment_id": experiment}
    if record.model:
        model_id, version = _registered(client, experiment, run_id, record, parent)
        client.log_outputs(run_id, [LoggedModelOutput(model_id=model_id, step=_last_step(record))])
        ids |= {"mlflow_model_id": model_id, "mlflow_model_version": version}
    told = [RunTag(f"snow.{name}", value) for name, value in ids.items()]
    # The ids stand on the run, so that a later materialization of the same generation finds them.
    _log(client, run_id, record, [*told, RunTag("snow.complete", "true")])
    client.set_terminated(run_id, "FINISHED", end_time=int(record.ended * 1000))
    return ids


def _known(client: MlflowClient, experiment: str, record: Record) -> dict[str, str] | None:
    """The ids of the run that recorded this generation."""
    tags = record.tags
    runs = client.search_runs(
        [experiment],
        f"tags.`snow.generation` = '{tags['snow.generation']}'"
        f" and tags.data_version = '{tags['data_version']}' and tags.`snow.complete` = 'true'",
        max_results=10,
        order_by=["attributes.start_time ASC"],
    )
    for run in runs:
        if run.data.tags["dagster.asset_key"] == record.asset:
            prefix = "snow.mlflow_"
            return {
                name.removeprefix("snow."): value
                for name, value in run.data.tags.items()
                if name.startswith(prefix)
            }
    return None


def _begun(client: MlflowClient, experiment: str, record: Record) -> str | None:
    found = client.search_runs([experiment], f"tags.`snow.record` = '{record.id}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _created(client: MlflowClient, experiment: str, record: Record) -> str:
    name = record.asset if record.partition == "all" else f"{record.asset} [{record.partition}]"
    run = client.create_run(
        experiment,
        start_time=int(record.started * 1000),
        tags={**record.tags, "snow.record": record.id, "snow.reused": str(record.reused).lower()},
        run_name=name,
    )
    return str(run.info.run_id)


def _dataset(made: TrackedDataset, context: str) -> Any:
    return DatasetInput(
        Dataset(
            name=made.name,
            digest=made.digest[:DIGEST_CHARS],
            source_type="lake",
            source=json.dumps({"uri": made.url}),
        ),
        [InputTag("mlflow.data.context", context), InputTag("sha256", made.digest)],
    )


def _parent(client: MlflowClient, record: Record) -> str | None:
    """The logged model of the very checkpoint among the inputs, not of a newer one's."""
    if not (record.model and record.model.parent):
        return None
    name = record.model.parent
    digest = next((made.digest for made in record.inputs if made.name.split("/")[0] == name), None)
    if digest is None:
        raise ValueError(f"{record.asset} names the parent {name}, which is none of its inputs")
    versions = client.search_model_versions(f"name = '{name}' and tags.data_version = '{digest}'")
    return str(versions[0].tags["model_id"]) if versions else None


def _registered(
    client: MlflowClient, experiment: str, run_id: str, record: Record, parent: str | None
) -> tuple[str, str]:
    """Log it as an external model and register it; if promoted, the recipe's alias points to it."""
    assert record.model is not None
    name = record.model.name
    tags = {
        # MLflow's own mark for weights that lie elsewhere.
        "mlflow.model.isExternal": "true",
        "folder": record.output.url,
        "data_version": record.output.digest,
        "recipe": record.recipe,
        "is_promoted": str(record.model.is_promoted).lower(),
        **({"parent_model_id": parent} if parent else {}),
    }
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if found:
        model_id, version = found[0].tags["model_id"], str(found[0].version)
    else:
        logged = client.create_logged_model(
            experiment, name=name, source_run_id=run_id, tags=tags, model_type=record.model.kind
        )
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        model_id = str(logged.model_id)
        made = client.create_model_version(
            name, f"models:/{model_id}", run_id=run_id, tags={**tags, "model_id": model_id}
        )
        version = str(made.version)
    if record.model.is_promoted:
        client.set_registered_model_alias(name, record.recipe, version)
    return model_id, version


def _promoted_again(client: MlflowClient, record: Record, version: str | None) -> None:
    """A recipe that comes back to an earlier model gets its alias back, too."""
    if version is None:
        return
    tags = client.get_model_version(record.asset, version).tags
    if tags.get("is_promoted", "true") == "true":
        client.set_registered_model_alias(record.asset, record.recipe, version)


def _last_step(record: Record) -> int:
    return max((int(entry["step"]) for entry in record.metrics), default=0)


def _log(client: MlflowClient, run_id: str, record: Record, tags: Sequence[Any]) -> None:
    """All parameters, metrics and tags, in as few requests as the server's limits allow."""
    ended = int(record.ended * 1000)
    metrics = [Metric(_key(name), value, ended, 0) for name, value in numbers(record.facts).items()]
    for entry in record.metrics:
        moment = int(float(entry.get("time", record.ended)) * 1000)
        metrics += [
            Metric(_key(name), float(value), moment, int(entry["step"]))
            for name, value in entry.items()
            if name not in ("step", "time")
        ]
    flat = flattened(record.settings)
    params = [
        Param(_key(name), value[:_MAX_VALUE_CHARS])
        for name, value in list(flat.items())[:_MAX_PARAMS]
    ]
    room = _MAX_METRICS - len(params) - len(tags)
    client.log_batch(run_id, metrics=metrics[:room], params=params, tags=tags)
    for start in range(room, len(metrics), _MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS])


def _key(name: str) -> str:
    """A name as MLflow takes it: letters, digits, and `_-. /`."""
    kept = (letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
    return "".join(kept)[:250]


def flattened(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as one level, `corpus.max_file_bytes`; a list is one value, as JSON."""
    if not isinstance(settings, Mapping):
        text = settings if isinstance(settings, str) else json.dumps(settings)
        return {prefix or "value": text}
    found: dict[str, str] = {}
    for name, value in settings.items():
        found |= flattened(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def numbers(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among nested facts, as one level; truth values and lists are none."""
    found: dict[str, float] = {}
    for name, value in facts.items():
        place = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= numbers(value, f"{place}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[place] = float(value)
    return found
