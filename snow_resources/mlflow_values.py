"""A record's parameters and metrics as MLflow takes them, and the requests that log them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from snow_resources.tracking import Record

# The tracking server's limits per request.
_MAX_METRICS, _MAX_PARAMS = 1_000, 100
_MAX_VALUE_CHARS = 500
DIGEST_CHARS = 32
"""Prefix of a sha256 as a dataset's digest: MLflow's limit is 36. The whole is the input's tag."""


def last_step(record: Record) -> int:
    return max((int(entry["step"]) for entry in record.metrics), default=0)


def record_params(record: Record) -> dict[str, str]:
    """The flattened config, lists as JSON, as far as a run may have parameters."""
    flat = list(_flattened(record.config).items())[:_MAX_PARAMS]
    texts = ((name, value if isinstance(value, str) else json.dumps(value)) for name, value in flat)
    return {_mlflow_name(name): text[:_MAX_VALUE_CHARS] for name, text in texts}


def record_metrics(
    record: Record, model_id: str | None, *, after_step: int | None = None
) -> list[Metric]:
    """Metrics of all steps, or of those after a step, and the manifest's numeric stats.

    Stats are metrics of the last step. A stat whose name is also a metric by step is named
    `final_...`: under the same name it would be a spike in the curve. A model's metrics refer to
    the model and its first input dataset.
    """
    ended = int(record.ended * 1000)
    by_step = {name for entry in record.metrics for name in entry}
    reference: dict[str, Any] = {"model_id": model_id} if model_id else {}
    if model_id and record.inputs:
        first = record.inputs[0]
        reference |= {"dataset_name": first.name, "dataset_digest": first.digest[:DIGEST_CHARS]}
    last = last_step(record)
    metrics = [
        Metric(
            _mlflow_name(f"final_{name}" if name in by_step else name),
            float(value),
            ended,
            last,
            **reference,
        )
        for name, value in _flattened(record.stats).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    for entry in record.metrics:
        if after_step is not None and int(entry["step"]) <= after_step:
            continue
        timestamp = int(float(entry.get("time", record.ended)) * 1000)
        metrics += [
            Metric(_mlflow_name(name), float(value), timestamp, int(entry["step"]), **reference)
            for name, value in entry.items()
            if name not in ("step", "time")
        ]
    return metrics


def log_values(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[Metric],
    *,
    params: Sequence[Param] = (),
    tags: Sequence[RunTag] = (),
) -> None:
    """In as few requests as the server's limits allow; tags after all metrics."""
    num_metrics = _MAX_METRICS - len(params) - len(tags)
    batches = [metrics[at : at + num_metrics] for at in range(0, len(metrics), num_metrics)] or [[]]
    for index, batch in enumerate(batches):
        is_last = index == len(batches) - 1
        client.log_batch(
            run_id,
            metrics=batch,
            params=params if index == 0 else (),
            tags=tags if is_last else (),
        )


def _mlflow_name(name: str) -> str:
    """Replace characters that MLflow refuses in names: it allows letters, digits and `_-. /`."""
    kept = (letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
    return "".join(kept)[:250]


def _flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to keys such as `corpus.max_file_bytes`; lists are values."""
    if not isinstance(value, Mapping):
        return {prefix or "value": value}
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flattened(item, f"{prefix}.{name}" if prefix else str(name))
    return flat
