"""MLflow, through an explicit client: one run per materialization, links both ways."""

import fcntl
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class TrackedDataset:
    """A generation as MLflow sees it: its name is asset/partition, its digest the manifest's."""

    name: str
    url: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class TrackedModel:
    """A model to log and register; `parent` is the registered name it was trained from."""

    name: str
    parent: str | None
    kind: str = "checkpoint"
    is_promoted: bool = True  # else it is registered, and the recipe's alias stays where it was


@dataclass(frozen=True, kw_only=True)
class RunLink:
    """Where a materialization stands in MLflow: ids for the lake, links for Dagster's page."""

    ids: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that MLflow is told of a materialization; plain, so that it can wait in a file."""

    id: str
    asset: str
    partition: str
    recipe: str
    tags: dict[str, str]
    settings: Any
    inputs: list[TrackedDataset]
    output: TrackedDataset
    facts: dict[str, Any]
    metrics: list[dict[str, Any]]
    model: TrackedModel | None
    started: float
    ended: float
    reused: bool


_RECORD = TypeAdapter(Record)


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Records materializations in the MLflow store at `uri`; an empty `uri` records nothing.

    When the store cannot be reached, nothing is lost: the record waits in the folder `spool`
    and is written before the next one. Without a `spool`, the store's error is raised.
    """

    uri: str
    ui_url: str = ""  # base of links to the MLflow UI; empty: no links
    spool: str = ""

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
        """Write one finished run; or, for a reused generation that has one, find it."""
        if not self.uri:
            return RunLink()
        tags = {
            "dagster.run_id": context.op_execution_context.run_id,
            "dagster.asset_key": asset,
            "dagster.partition": partition,
            "recipe": recipe,
            "code_version": code_version,
            "data_version": output.digest,
            "snow.generation": output.url.rstrip("/").rsplit("/", 1)[-1],
            "snow.folder": output.url,
            **({"git.sha": sha} if (sha := _git_sha()) else {}),
        }
        record = Record(
            id=uuid.uuid4().hex, asset=asset, partition=partition, recipe=recipe, tags=tags,
            settings=settings, inputs=list(inputs), output=output, facts=dict(facts),
            metrics=[dict(entry) for entry in metrics], model=model, started=started,
            ended=time.time(), reused=reused,
        )  # fmt: skip
        return self._write_or_keep(context, record)

    def _write_or_keep(self, context: dg.AssetExecutionContext, record: Record) -> RunLink:
        # A server that is down is known in seconds; MLflow's default is minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from snow_resources import mlflow_runs  # here: its import takes seconds

        try:
            with self._waiting() as paths:
                for path in paths:
                    self._write_waiting(context, path)
            return self._link(mlflow_runs.write(self.uri, record, is_repeated=False))
        except mlflow_runs.UNREACHABLE as error:
            if not self.spool:
                raise
            path = self._keep(record)
            context.log.warning(
                f"MLflow at {self.uri} took no record of {record.asset} [{record.partition}]: "
                f"{error}. It waits in {path} and is written before the next one."
            )
            return RunLink(metadata={"mlflow": f"not reached; the record waits in {path}"})

    def _write_waiting(self, context: dg.AssetExecutionContext, path: Path) -> None:
        from snow_resources import mlflow_runs

        waited = _RECORD.validate_json(path.read_bytes())
        try:
            mlflow_runs.write(self.uri, waited, is_repeated=True)
        except mlflow_runs.UNREACHABLE as error:
            if not mlflow_runs.is_refusal(error):
                raise
            # Set aside, or it would hold up every later record.
            aside = path.rename(path.with_suffix(".refused"))
            context.log.warning(f"MLflow refuses the record in {aside} for good: {error}")
        else:
            path.unlink()

    @contextmanager
    def _waiting(self) -> Iterator[list[Path]]:
        """The records that wait, oldest first; another process waits until they are written."""
        folder = Path(self.spool)
        if not (self.spool and folder.is_dir()):
            yield []
            return
        with (folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield sorted(folder.glob("*.json"))

    def _keep(self, record: Record) -> Path:
        whole = Path(self.spool) / f"{time.time_ns():020d}-{record.id}.json"
        whole.parent.mkdir(parents=True, exist_ok=True)
        # Hidden until it is whole: another process may be writing what waits.
        part = whole.with_name(f".{whole.name}")
        part.write_bytes(_RECORD.dump_json(record))
        part.replace(whole)
        return whole

    def _link(self, ids: dict[str, str]) -> RunLink:
        run, model = ids["mlflow_run_id"], ids.get("mlflow_model_id")
        metadata: dict[str, Any] = {"mlflow_run_id": run}
        if self.ui_url:
            place = f"{self.ui_url.rstrip('/')}/#/experiments/{ids['mlflow_experiment_id']}"
            metadata["mlflow_run"] = dg.MetadataValue.url(f"{place}/runs/{run}")
            if model:
                metadata["mlflow_model"] = dg.MetadataValue.url(f"{place}/models/{model}")
        if model:
            metadata["mlflow_model_id"] = model
            metadata["mlflow_model_version"] = ids["mlflow_model_version"]
        return RunLink(ids=ids, metadata=metadata)


@lru_cache(maxsize=1)
def _git_sha() -> str:
    """Of the checkout; an image has none, and is told by whoever builds it."""
    told = os.environ.get("SNOW_COMMIT", "")
    if told or not shutil.which("git"):
        return told
    checkout = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"],  # noqa: S607  # git of the PATH
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()
