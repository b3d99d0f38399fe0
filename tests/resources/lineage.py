"""Lineage as MLflow's runs tell it: from a registered model back, from a dataset forward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snow_resources.mlflow_runs import EXPERIMENT, client_of
from snow_resources.mlflow_values import DIGEST_CHARS


@dataclass(frozen=True, kw_only=True)
class Step:
    """A recorded materialization; `name` is asset/partition, `digest` the manifest's."""

    name: str
    digest: str
    model_id: str | None  # of a checkpoint
    parent_model_id: str | None
    inputs: list[tuple[str, str]]  # name and digest of each input dataset


def ancestors(uri: str, model: str, *, alias: str) -> list[Step]:
    """Ancestors of a registered model, itself first, each once, breadth first."""
    client = client_of(uri)
    version = client.get_model_version_by_alias(model, alias)
    start = _step(client.get_run(version.run_id))
    return _breadth_first(
        [start],
        lambda step: [
            producer
            for name, digest in step.inputs
            for producer in _steps(uri, name, digest, "output")[:1]
        ],
    )


def descendants(uri: str, name: str, digest: str) -> list[Step]:
    """Direct and indirect descendants of a dataset, each once, breadth first."""
    return _breadth_first(
        _steps(uri, name, digest, "input"),
        lambda step: _steps(uri, step.name, step.digest, "input"),
    )


def _breadth_first(first: list[Step], neighbors: Callable[[Step], list[Step]]) -> list[Step]:
    visited: dict[tuple[str, str], Step] = {}
    queue = list(first)
    while queue:
        step = queue.pop(0)
        if (step.name, step.digest) not in visited:
            visited[step.name, step.digest] = step
            queue += neighbors(step)
    return list(visited.values())


def _steps(uri: str, name: str, digest: str, context: str) -> list[Step]:
    """The finished runs that have a dataset as input or output."""
    client = client_of(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs(
        [experiment.experiment_id],
        f"dataset.digest = '{digest[:DIGEST_CHARS]}' and dataset.context = '{context}'",
        order_by=["attributes.start_time ASC"],
    )
    # MLflow's conditions may be met by several datasets; a run in progress has no output.
    return [
        _step(run)
        for run in runs
        if (name, digest) in _datasets(run, context) and _datasets(run, "output")
    ]


def _datasets(run: Any, context: str) -> list[tuple[str, str]]:
    datasets = []
    for dataset_input in run.inputs.dataset_inputs:
        tags = {tag.key: tag.value for tag in dataset_input.tags}
        if tags["mlflow.data.context"] == context:
            datasets.append((str(dataset_input.dataset.name), tags["sha256"]))
    return sorted(datasets)


def _step(run: Any) -> Step:
    [(name, digest)] = _datasets(run, "output")
    parents = run.inputs.model_inputs or []
    return Step(
        name=name,
        digest=digest,
        model_id=run.data.tags.get("snow.mlflow_model_id"),
        parent_model_id=parents[0].model_id if parents else None,
        inputs=_datasets(run, "input"),
    )
