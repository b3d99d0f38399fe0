"""Metadata of an artifact for Dagster and MLflow, stored as files of the artifact.

`metadata/` holds Dagster's metadata entries, plots as PNG files, metrics by step and the
materialization run. The files are written before the manifest, which lists them with their SHA-256.
Times and speeds differ from run to run, so they are not part of the artifact's digest; each file's
name holds its own digest, so that two runs that finish the same artifact never overwrite each
other's files.
"""

import base64
import hashlib
import io
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from snow_assets.plots import Plot
from snow_assets.storage import shards
from snow_resources.tracking import TrackedModel

FOLDER = "metadata"
_ENTRIES, _METRICS, _RUN = "entries", "metrics", "run"
_KINDS: dict[str, Any] = {
    "markdown": dg.MarkdownMetadataValue,
    "json": dg.JsonMetadataValue,
    "path": dg.PathMetadataValue,
    "url": dg.UrlMetadataValue,
    "text": dg.TextMetadataValue,
    "bool": dg.BoolMetadataValue,
    "int": dg.IntMetadataValue,
    "float": dg.FloatMetadataValue,
}


@dataclass(frozen=True, kw_only=True)
class MaterializationRun:
    """The run that materialized an artifact, its times, and the model, if the artifact is one."""

    dagster_run_id: str
    git_commit: str
    started: float  # seconds since the epoch
    finished: float
    model: TrackedModel | None = None


@dataclass(frozen=True, kw_only=True)
class ArtifactMetadata:
    """`entries`: Dagster's metadata values; `metrics` by step: `{"step": 10, "loss": 2.3}`;
    `plots`: the artifact's PNG files by name.

    `run` is None for artifacts of versions that did not store it.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)
    run: MaterializationRun | None = None


_RUN_ADAPTER = TypeAdapter(MaterializationRun)


def put_metadata(
    folder: str,
    *,
    entries: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    run: MaterializationRun,
) -> list[shards.FileRecord]:
    """Write the files and return their records; TypeError for an entry of an unsupported type."""
    files: list[shards.FileRecord] = []
    json_entries: dict[str, Any] = {}
    for name, value in entries.items():
        if isinstance(value, Plot):
            file = _put(folder, f"plot_{name}", ".png", value.png)
            files.append(file)
            json_entries[name] = {"kind": "plot", "title": value.title, "file": file.name}
        else:
            json_entries[name] = _to_json_entry(name, value)
    files.append(_put(folder, _ENTRIES, ".json", _json(json_entries)))
    files.append(_put(folder, _RUN, ".json", _json(asdict(run))))
    if metrics:
        files.append(_put(folder, _METRICS, ".parquet", _metrics_parquet(metrics)))
    return files


def read_metadata(folder: str, manifest: shards.Manifest) -> ArtifactMetadata:
    """Read what `put_metadata` wrote; every file's digest is verified with the manifest."""
    files = {
        posixpath.basename(entry.name).rsplit("-", 1)[0]: entry.name
        for entry in manifest.metadata_files
    }
    if _ENTRIES not in files:
        return ArtifactMetadata()
    json_entries = json.loads(shards.get_file(folder, files[_ENTRIES]))
    metrics: list[dict[str, Any]] = []
    if _METRICS in files:
        metrics = _read_metrics(shards.get_file(folder, files[_METRICS]))
    return ArtifactMetadata(
        entries={name: _to_dagster(folder, entry) for name, entry in json_entries.items()},
        metrics=metrics,
        plots={
            name: entry["file"] for name, entry in json_entries.items() if entry["kind"] == "plot"
        },
        run=_RUN_ADAPTER.validate_json(shards.get_file(folder, files[_RUN])),
    )


def _put(folder: str, stem: str, extension: str, content: bytes) -> shards.FileRecord:
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"{FOLDER}/{stem}-{sha256[:12]}{extension}"
    shards.put(shards.join(folder, name), content)
    return shards.FileRecord(name=name, num_bytes=len(content), sha256=sha256)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _to_json_entry(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool | int | float | str):
        kind = {bool: "bool", int: "int", float: "float"}.get(type(value), "text")
        return {"kind": kind, "value": value}
    for kind, metadata_type in _KINDS.items():
        if isinstance(value, metadata_type):
            return {"kind": kind, "value": value.value}
    raise TypeError(f"metadata entry {name!r} is a {type(value).__name__}: use Markdown or JSON")


def _to_dagster(folder: str, entry: Mapping[str, Any]) -> Any:
    if entry["kind"] == "plot":
        png = base64.b64encode(shards.get_file(folder, entry["file"])).decode()
        return dg.MetadataValue.md(f"![{entry['title']}](data:image/png;base64,{png})")
    return _KINDS[entry["kind"]](entry["value"])


def _metrics_parquet(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode metrics as Parquet with a row per step; a missing metric is null."""
    names = sorted({name for entry in metrics for name in entry} - {"step"})
    schema = pa.schema([("step", pa.int64()), *((name, pa.float64()) for name in names)])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(metrics), schema), buffer, compression="zstd")
    return buffer.getvalue()


def _read_metrics(content: bytes) -> list[dict[str, Any]]:
    rows = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
