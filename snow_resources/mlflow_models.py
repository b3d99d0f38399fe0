"""Logged and registered models of records in MLflow; their weights are in the lake."""

import json

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from snow_resources.mlflow_values import record_params
from snow_resources.tracking import Record


def parent_model_id(client: MlflowClient, record: Record) -> str | None:
    """The logged model of exactly the input checkpoint, not of a newer version."""
    if not (record.model and record.model.parent):
        return None
    name, digest = record.model.parent, record.parent_digest
    versions = client.search_model_versions(f"name = '{name}' and tags.data_version = '{digest}'")
    return str(versions[0].tags["model_id"]) if versions else None


def register_model(
    client: MlflowClient, experiment: str, run_id: str, record: Record, parent: str | None
) -> tuple[str, str]:
    """Log the output as an external model and register it; return its id and version."""
    assert record.model is not None
    name = record.model.name
    tags = _model_tags(record, parent)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if versions:
        model_id, version = versions[0].tags["model_id"], str(versions[0].version)
    else:
        model_id = logged_model_id(client, experiment, run_id, record, parent)
        created = client.create_model_version(
            name,
            f"models:/{model_id}",
            run_id=run_id,
            tags={**tags, "model_id": model_id},
            model_id=model_id,  # a tracking server refuses the source without it
        )
        version = str(created.version)
    # MLflow's page of a logged model names its registered version by this tag.
    version_tag = json.dumps([{"name": name, "version": version}])
    client.set_logged_model_tags(model_id, {**tags, "mlflow.modelVersions": version_tag})
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return model_id, version


def _model_tags(record: Record, parent: str | None) -> dict[str, str]:
    assert record.model is not None
    return {
        # MLflow's tag for weights stored outside its artifact store.
        "mlflow.model.isExternal": "true",
        "folder": record.output.url,
        "data_version": record.output.digest,
        "recipe": record.recipe,
        **({"parent_model_id": parent} if parent else {}),
    }


def logged_model_id(
    client: MlflowClient, experiment: str, run_id: str, record: Record, parent: str | None
) -> str:
    """The id of the run's logged model, which is created if there is none."""
    assert record.model is not None
    logged_models = client.search_logged_models(
        [experiment], filter_string=f"source_run_id = '{run_id}'", max_results=1
    )
    if logged_models:
        return str(logged_models[0].model_id)
    logged_model = client.create_logged_model(
        experiment,
        name=record.model.name,
        source_run_id=run_id,
        tags=_model_tags(record, parent),
        model_type=record.model.kind,
        params=record_params(record),
    )
    return str(logged_model.model_id)


def promote(client: MlflowClient, record: Record, version: str | None) -> None:
    """Set the recipe's alias to the model, if it is promoted."""
    if record.model is not None and record.is_promoted and version is not None:
        client.set_registered_model_alias(record.model.name, record.recipe, version)
