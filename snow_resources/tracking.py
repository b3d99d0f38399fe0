"""MLflow, through an explicit client: one run per materialization, links both ways."""

import functools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "snow"
ALIAS = "current"
_MAX_PARAMS, _MAX_PARAM_CHARS = 100, 500  # MLflow's own limits: 100 a batch, 6000 characters
_METRICS_PER_BATCH = 1000
_DIGEST_CHARS = 32  # MLflow takes 36; the whole digest stands in a tag


@dataclass(frozen=True, kw_only=True)
class TrackedDataset:
    """A generation as MLflow sees it: its name is asset/partition, its digest the manifest's."""

    name: str
    url: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class TrackedModel:
    """A checkpoint to log and register; `parent` is the registered name it was trained from."""

    name: str
    parent: str | None


@dataclass(frozen=True, kw_only=True)
class RunLink:
    """Where a materialization stands in MLflow: ids for the lake, links for Dagster's page."""

    ids: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A materialization as it is told to MLflow, now or from the spool later."""

    name: str
    tags: dict[str, str]
    params: dict[str, str]
    inputs: list[TrackedDataset]
    output: TrackedDataset
    facts: dict[str, float]
    metrics: list[dict[str, float]]
    model: TrackedModel | None
    started_ms: int
    ended_ms: int


_RECORD = TypeAdapter(Record)


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Records materializations in the MLflow store at `uri`; an empty `uri` records nothing.

    While MLflow cannot be reached, records wait as files in `spool` and are told, oldest first,
    before the next one: nothing is lost, and no finished work waits for the tracker.
    """

    uri: str
    ui_url: str = ""  # base of links to the MLflow UI; empty: no links
    spool: str = ""  # a local folder; needed where `uri` is set

    def record(
        self,
        context: dg.AssetExecutionContext,
        *,
        asset: str,
        partition: str,
        recipe: str,
        code_version: str,
        settings: Any,
        inputs: Sequence[TrackedDataset],
        output: TrackedDataset,
        facts: Mapping[str, Any],
        metrics: Sequence[Mapping[str, Any]],
        model: TrackedModel | None,
        started: float,
        reused: bool,
    ) -> RunLink:
        """Tell MLflow of one materialization; a reused generation is linked to its first run."""
        if not self.uri:
            return RunLink()
        made = Record(
            name=f"{asset} [{partition}]" if partition != "all" else asset,
            tags={
                "snow.asset": asset,
                "snow.partition": partition,
                "snow.recipe": recipe,
                "snow.code_version": code_version,
                "snow.folder": output.url,
                "snow.data_version": output.digest,
                "dagster.run_id": context.run_id,
                **_commit(),
            },
            params=dict(list(_flattened(settings))[:_MAX_PARAMS]),
            inputs=list(inputs),
            output=output,
            facts={name: float(value) for name, value in _numbers(facts)},
            metrics=[dict(entry) for entry in metrics],
            model=model,
            started_ms=int(started * 1000),
            ended_ms=int(time.time() * 1000),
        )
        return self._linked(self._told(context, made, reused=reused))

    def _told(
        self, context: dg.AssetExecutionContext, made: Record, *, reused: bool
    ) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        try:
            client = connect(self.uri)
            for path in sorted(Path(self.spool).glob("*.json")):
                _write(client, _RECORD.validate_json(path.read_bytes()))
                path.unlink()
            if reused and (known := _known_run(client, made)):
                return known
            return _write(client, made)
        except MlflowException as error:
            path = Path(self.spool) / f"{time.time_ns()}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_RECORD.dump_json(made))
            context.log.warning(
                f"MLflow at {self.uri} did not answer ({error}): {made.name} waits in {path}"
            )
            return {}

    def _linked(self, ids: dict[str, str]) -> RunLink:
        metadata: dict[str, Any] = dict(ids)
        if self.ui_url and ids:
            page = f"{self.ui_url}/#/experiments/{ids['mlflow_experiment_id']}"
            metadata["mlflow_run"] = dg.MetadataValue.url(f"{page}/runs/{ids['mlflow_run_id']}")
            if "mlflow_model_id" in ids:
                model = f"{page}/models/{ids['mlflow_model_id']}"
                metadata["mlflow_model"] = dg.MetadataValue.url(model)
        return RunLink(ids=ids, metadata=metadata)


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`: sqlite:///PATH or a server's address; no telemetry."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # A tracker that is down is found out in seconds: the record waits in the spool.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow
    from mlflow import MlflowClient

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        # The registry resolves models:/ by the process's own address where no server does it.
        mlflow.set_tracking_uri(uri)
    return MlflowClient(uri, uri)


def experiment_id(client: "MlflowClient") -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT))


def _known_run(client: "MlflowClient", made: Record) -> dict[str, str] | None:
    """The run that first made this generation."""
    experiment = experiment_id(client)
    folder = made.tags["snow.folder"]
    runs = client.search_runs([experiment], f"tags.`snow.folder` = '{folder}'", max_results=1)
    if not runs:
        return None
    ids = {"mlflow_experiment_id": experiment, "mlflow_run_id": runs[0].info.run_id}
    model = model_of(client, folder)
    return {**ids, "mlflow_model_id": model} if model else ids


def model_of(client: "MlflowClient", folder: str) -> str | None:
    """The id of the logged model whose files lie in `folder` of the lake."""
    found = client.search_logged_models(
        [experiment_id(client)], filter_string=f"tags.`snow.folder` = '{folder}'", max_results=1
    )
    return str(found[0].model_id) if found else None


def _write(client: "MlflowClient", made: Record) -> dict[str, str]:
    from mlflow.entities import Metric, Param, RunTag

    experiment = experiment_id(client)
    run = client.create_run(
        experiment, start_time=made.started_ms, tags=made.tags, run_name=made.name
    )
    run_id = str(run.info.run_id)
    ids = {"mlflow_experiment_id": experiment, "mlflow_run_id": run_id}
    model_id = None
    if made.model is not None:
        model_id = ids["mlflow_model_id"] = _write_model(client, experiment, run_id, made)
    _write_datasets(client, run_id, made)
    steps = [
        Metric(name, value, int(entry["time"] * 1000), int(entry["step"]), model_id=model_id)
        for entry in made.metrics
        for name, value in entry.items()
        if name not in ("time", "step")
    ]
    facts = [
        Metric(name, value, made.ended_ms, 0, model_id=model_id)
        for name, value in made.facts.items()
    ]
    client.log_batch(
        run_id,
        params=[Param(name, value) for name, value in made.params.items()],
        tags=[RunTag("snow.inputs", str(len(made.inputs)))],
    )
    for batch in _batched([*facts, *steps], _METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=batch)
    client.set_terminated(run_id, "FINISHED", end_time=made.ended_ms)
    return ids


def _write_datasets(client: "MlflowClient", run_id: str, made: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    def logged(dataset: TrackedDataset, context: str) -> DatasetInput:
        return DatasetInput(
            Dataset(
                name=dataset.name,
                digest=dataset.digest[:_DIGEST_CHARS],
                source_type="lake",
                source=json.dumps({"url": dataset.url}),
            ),
            [InputTag("mlflow.data.context", context), InputTag("snow.digest", dataset.digest)],
        )

    given = [logged(dataset, "input") for dataset in made.inputs]
    client.log_inputs(run_id, [*given, logged(made.output, "output")])


def _write_model(client: "MlflowClient", experiment: str, run_id: str, made: Record) -> str:
    """Log and register a checkpoint that stays in the lake; return the logged model's id."""
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    assert made.model is not None
    tags = {
        "snow.folder": made.output.url,
        "snow.data_version": made.output.digest,
        "mlflow.model.isExternal": "true",
    }
    parent = _parent(client, made)
    if parent is not None:
        tags["snow.parent_model_id"] = parent
        client.log_inputs(run_id, models=[LoggedModelInput(parent)])
    model = client.create_logged_model(
        experiment, name=made.model.name, source_run_id=run_id, tags=tags
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    name = made.model.name
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    # ModelVersion.model_id comes back empty from MLflow 3.17, so a tag says it.
    version = client.create_model_version(
        name,
        f"models:/{model.model_id}",
        run_id=run_id,
        tags={**tags, "snow.model_id": str(model.model_id)},
        model_id=model.model_id,
    )
    client.set_registered_model_alias(name, ALIAS, version.version)
    return str(model.model_id)


def _parent(client: "MlflowClient", made: Record) -> str | None:
    """The logged model of the parent checkpoint's generation, which is among the inputs."""
    assert made.model is not None
    if made.model.parent is None:
        return None
    for given in made.inputs:
        if given.name.partition("/")[0] == made.model.parent:
            return model_of(client, given.url)
    raise ValueError(
        f"{made.model.name} names {made.model.parent} as its parent, which is not among its "
        f"inputs: {[given.name for given in made.inputs]}"
    )


@functools.cache
def _commit() -> dict[str, str]:
    """The checkout's commit as a tag; none outside a git checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607  whichever git the user has
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {"git.sha": done.stdout.strip()} if done.returncode == 0 else {}


def _flattened(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested JSON value as dotted names and short texts."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _flattened(value, f"{prefix}{name}.")
    else:
        text = settings if isinstance(settings, str) else json.dumps(settings)
        yield prefix.rstrip(".") or "settings", text[:_MAX_PARAM_CHARS]


def _numbers(facts: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(facts, Mapping):
        for name, value in facts.items():
            yield from _numbers(value, f"{prefix}{name}.")
    elif isinstance(facts, (int, float)):
        # MLflow allows few signs in a metric's name; "c++" and "<" are not among them.
        name = "".join(c if c.isalnum() or c in "_-. /" else "_" for c in prefix.rstrip("."))
        yield name, float(facts)


def _batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
