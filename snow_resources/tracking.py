"""MLflow tracking through an explicit client: a run per materialization, links both ways."""

import logging
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagster as dg
from pydantic import ConfigDict, TypeAdapter, ValidationError, field_validator

from snow_assets.storage.urls import redact_urls, refuse_credentials
from snow_resources.file_lock import exclusive


@dataclass(frozen=True, kw_only=True)
class TrackedDataset:
    """An artifact as an MLflow dataset: name is asset/partition, digest is the manifest's."""

    name: str
    url: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class TrackedModel:
    """A model to log and register; `parent`: registered name of the model it was trained from."""

    name: str
    parent: str | None
    kind: str = "checkpoint"
    is_promoted: bool = True  # else it is registered without moving the recipe's alias


@dataclass(frozen=True, kw_only=True)
class TrackedAlias:
    """A recipe's alias, and the artifact whose model it names."""

    model: str
    recipe: str
    folder: str
    data_version: str


@dataclass(frozen=True, kw_only=True)
class RunLink:
    """A materialization's MLflow ids, for the lake, and links, for Dagster's metadata."""

    ids: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What MLflow records of a materialization, as plain data that the spool stores as JSON."""

    asset: str
    partition: str
    recipe: str
    tags: dict[str, str]
    config: Any
    inputs: list[TrackedDataset]
    output: TrackedDataset
    stats: dict[str, Any]
    metrics: list[dict[str, Any]]
    model: TrackedModel | None
    started: float
    ended: float
    plots: dict[str, str] = field(default_factory=dict)  # PNG files of the output by name
    is_gated: bool = False
    """Comparisons gate the promotion of its recipe's models: a record that waited is written
    without its promotion, since they may hold it back by then."""

    @property
    def is_promoted(self) -> bool:
        """Whether writing it moves the recipe's alias to its model."""
        return self.model is not None and self.model.is_promoted

    def without_promotion(self) -> "Record":
        """The same record of a model that the alias does not move to."""
        if self.model is None:
            return self
        return replace(self, model=replace(self.model, is_promoted=False))

    @property
    def parent_digest(self) -> str | None:
        """The digest of the checkpoint that the model was trained from."""
        if not (self.model and self.model.parent):
            return None
        name = self.model.parent
        digests = [dataset.digest for dataset in self.inputs if dataset.name.split("/")[0] == name]
        if not digests:
            raise ValueError(f"{self.asset} names the parent {name}, which is none of its inputs")
        return digests[0]


def materialization_record(
    *,
    asset: str,
    partition: str,
    recipe: str,
    code_version: str,
    config: Any,
    inputs: Sequence[TrackedDataset],
    output: TrackedDataset,
    stats: Mapping[str, Any],
    started: float,
    ended: float,
    dagster_run_id: str,
    git_commit: str,
    metrics: Sequence[Mapping[str, Any]] = (),
    plots: Mapping[str, str] = MappingProxyType({}),
    model: TrackedModel | None = None,
) -> Record:
    """Build the record of an artifact; deterministic, given the artifact's own files."""
    tags = {
        "dagster.run_id": dagster_run_id,
        "dagster.asset_key": asset,
        "dagster.partition": partition,
        "recipe": recipe,
        "code_version": code_version,
        "data_version": output.digest,
        "snow.fingerprint": output.url.rstrip("/").rsplit("/", 1)[-1],
        "snow.folder": output.url,
        **({"git.sha": git_commit} if git_commit else {}),
    }
    return Record(
        asset=asset,
        partition=partition,
        recipe=recipe,
        tags=tags,
        config=config,
        inputs=list(inputs),
        output=output,
        stats=dict(stats),
        metrics=[dict(entry) for entry in metrics],
        plots=dict(plots),
        model=model,
        started=started,
        ended=ended,
    )


@dataclass(frozen=True, kw_only=True)
class WaitingRecords:
    """Records that MLflow has not accepted yet, and the reason of the last failure."""

    num_records: int
    folder: str
    reason: str

    def message(self) -> str:
        """A message with the remedy; empty if no record waits."""
        if not self.num_records:
            return ""
        return (
            f"{self.num_records} records wait for MLflow in {self.folder}: {self.reason or 'new'}. "
            "The next materialization and the next `make mlflow` try again; `make mlflow-rebuild` "
            "builds a damaged store again from the lake."
        )


PENDING_DIGEST = "pending"
"""Digest of an output that is not finished yet."""

_RECORD = TypeAdapter(Record)
_REASON = "reason.txt"
_NO_LOG = logging.getLogger("snow.tracking")


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Records materializations in the MLflow store at `uri`; an empty `uri` records nothing.

    A record is first written to the folder `spool` and deleted once the store has it: if the store
    is unreachable or the process is killed, the next materialization writes it. Without a `spool`,
    the store's error is raised.
    """

    uri: str
    ui_url: str = ""  # base of links to the MLflow UI; empty: no links
    spool: str = ""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused URL may hold a secret

    @field_validator("uri", "ui_url")
    @classmethod
    def _has_no_credentials(cls, url: str) -> str:
        return refuse_credentials(url, "MLflow's URL")

    def record(self, log: Any, record: Record) -> RunLink:
        """Write a record and the waiting ones before it. Idempotent."""
        _ = record.parent_digest  # ValueError if the parent is not an input
        if not self.uri:
            return RunLink()
        if not self.spool:
            return self._run_link(self.runs().write(self.uri, record))
        path = self._spool_record(record)
        ids = self._write_waiting(log, own=path.name).get(path.name)
        if ids is None and not path.exists() and not path.with_suffix(".refused").exists():
            ids = self.runs().write(self.uri, record)  # another process wrote it: look up its ids
        if ids is not None:
            return self._run_link(ids)
        refused = path.with_suffix(".refused")
        if refused.exists():
            return RunLink(metadata={"mlflow": f"refused; the record is in {refused}"})
        reason = self.waiting().reason
        log.warning(
            f"MLflow at {self.uri} did not accept the record of {record.asset} "
            f"[{record.partition}]: {reason}. "
            f"It waits in {path} and is written before the next one."
        )
        return RunLink(metadata={"mlflow": f"not reached: {reason}; the record waits in {path}"})

    def write_waiting(self, log: Any = _NO_LOG) -> WaitingRecords:
        """Try to write the waiting records; return those that still wait, with the reason."""
        if self.uri and self.waiting().num_records:
            self._write_waiting(log)
        return self.waiting()

    def waiting(self) -> WaitingRecords:
        """The waiting records, without an attempt to write them."""
        folder = Path(self.spool)
        if not (self.spool and folder.is_dir()):
            return WaitingRecords(num_records=0, folder=self.spool, reason="")
        reason = folder / _REASON
        return WaitingRecords(
            num_records=len(list(folder.glob("*.json"))),
            folder=self.spool,
            reason=reason.read_text("utf-8", "replace") if reason.exists() else "",
        )

    def runs(self) -> Any:
        """The module `mlflow_runs`."""
        # Fail within seconds if the server is down; MLflow's default is minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from snow_resources import mlflow_runs  # imported lazily: it takes seconds

        return mlflow_runs

    def _write_waiting(self, log: Any, own: str = "") -> dict[str, dict[str, str]]:
        """Write the waiting records, oldest first; return file name -> MLflow's ids.

        The file `own` has not waited: its promotion is decided.
        """
        runs, written = self.runs(), {}
        folder = Path(self.spool)
        waiting = "Another process writes the records that wait for MLflow; waiting for it"
        with exclusive(folder / ".lock", waiting=waiting, warn=log.info):
            for path in sorted(folder.glob("*.json")):
                record = self._read(log, path)
                if record is None:
                    continue
                if path.name != own and record.is_gated and record.is_promoted:
                    log.warning(
                        f"{record.asset} of recipe {record.recipe} waited for MLflow and is not "
                        "promoted: `make promote` with that recipe asks its gates again"
                    )
                    record = record.without_promotion()
                try:
                    written[path.name] = runs.write(self.uri, record)
                except runs.UNREACHABLE as error:
                    if not runs.is_refusal(error):
                        (folder / _REASON).write_text(_first_line(error), "utf-8")
                        return written
                    # Renamed, or it would block every later record.
                    aside = path.rename(path.with_suffix(".refused"))
                    log.warning(f"MLflow refuses the record in {aside} permanently: {error}")
                else:
                    path.unlink()
            (folder / _REASON).unlink(missing_ok=True)
        return written

    def _read(self, log: Any, path: Path) -> Record | None:
        """Read a waiting record; a damaged one is renamed, since the lake holds its content."""
        try:
            return _RECORD.validate_json(path.read_bytes())
        except ValidationError:
            aside = path.rename(path.with_suffix(".damaged"))
            log.warning(
                f"the record in {aside} is damaged: `make mlflow-rebuild` records it again from "
                "the lake; delete the file then"
            )
            return None

    def _spool_record(self, record: Record) -> Path:
        path = Path(self.spool) / f"{time.time_ns():020d}-{uuid.uuid4().hex}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Hidden until it is complete: another process may be writing the waiting records.
        part = path.with_name(f".{path.name}")
        part.write_bytes(_RECORD.dump_json(record))
        part.replace(path)
        return path

    def run_url(self, experiment: str, run: str) -> str:
        """The page of a run; empty without a UI."""
        return f"{self._experiment_url(experiment)}/runs/{run}" if self.ui_url else ""

    def _experiment_url(self, experiment: str) -> str:
        return f"{self.ui_url.rstrip('/')}/#/experiments/{experiment}"

    def _run_link(self, ids: dict[str, str]) -> RunLink:
        run, model = ids["mlflow_run_id"], ids.get("mlflow_model_id")
        metadata: dict[str, Any] = {"mlflow_run_id": run}
        if self.ui_url:
            experiment_url = self._experiment_url(ids["mlflow_experiment_id"])
            metadata["mlflow_run"] = dg.MetadataValue.url(f"{experiment_url}/runs/{run}")
            if model:
                metadata["mlflow_model"] = dg.MetadataValue.url(f"{experiment_url}/models/{model}")
        if model:
            metadata["mlflow_model_id"] = model
            metadata["mlflow_model_version"] = ids["mlflow_model_version"]
        return RunLink(ids=ids, metadata=metadata)


def _first_line(error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {redact_urls(first_line)}"


def default_ui_url(uri: str, environment: Mapping[str, str]) -> str:
    """Base URL of MLflow links: SNOW_MLFLOW_UI, the server itself, or the port of `make mlflow`.

    MLFLOW_PORT is the Makefile's; 5000 if it is not set.
    """
    if chosen := environment.get("SNOW_MLFLOW_UI"):
        return chosen
    if uri.startswith(("http://", "https://")):
        return uri
    return f"http://localhost:{environment.get('MLFLOW_PORT', '5000')}"


@lru_cache(maxsize=1)
def git_commit() -> str:
    """The checkout's commit; an image has no checkout: its build sets SNOW_COMMIT."""
    commit = os.environ.get("SNOW_COMMIT", "")
    if commit or not shutil.which("git"):
        return commit
    checkout = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"],  # noqa: S607  # git of the PATH
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
