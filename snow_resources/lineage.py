"""Lineage from MLflow: from a registered model back to its sources, from a dataset forward.

A step is a run, looked up by the digest of its output. Its tags hold the rest (the Dagster run, the
folder in the lake).
"""

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
    folder: str
    run_id: str
    dagster_run_id: str
    model_id: str | None  # of a checkpoint
    parent_model_id: str | None
    inputs: tuple[tuple[str, str], ...]  # name and digest of each input dataset


def ancestors(uri: str, model: str, *, alias: str) -> list[Step]:
    """Ancestors of a registered model, itself first, each once, breadth first."""
    client = client_of(uri)
    version = client.get_model_version_by_alias(model, alias)
    if version.run_id is None:
        raise LookupError(f"{model} {alias!r} was registered by hand: no run records its inputs")
    start = _step(client.get_run(version.run_id))

    def parents(step: Step) -> list[Step]:
        producers = [_producer(uri, name, digest) for name, digest in step.inputs]
        return [producer for producer in producers if producer is not None]

    return _breadth_first([start], parents)


def descendants(uri: str, name: str, digest: str) -> list[Step]:
    """Direct and indirect descendants of a dataset, each once, breadth first."""
    return _breadth_first(
        _readers(uri, name, digest), lambda step: _readers(uri, step.name, step.digest)
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


def _producer(uri: str, name: str, digest: str) -> Step | None:
    producers = _runs(uri, name, digest, "output")
    return producers[0] if producers else None


def _readers(uri: str, name: str, digest: str) -> list[Step]:
    return _runs(uri, name, digest, "input")


def _runs(uri: str, name: str, digest: str, context: str) -> list[Step]:
    client = client_of(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        raise LookupError(f"{uri} has no experiment {EXPERIMENT!r}: nothing was recorded there")
    token, steps = None, []
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            f"dataset.digest = '{digest[:DIGEST_CHARS]}' and dataset.context = '{context}'",
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        steps += [
            _step(run)
            for run in page
            # A run in progress has no output yet.
            if _has_dataset(run, name, digest, context) and _datasets(run, "output")
        ]
        token = page.token
        if not token:
            return steps


def _has_dataset(run: Any, name: str, digest: str, context: str) -> bool:
    """Whether one dataset meets all conditions: MLflow's filter may match several datasets."""
    return (name, digest) in _datasets(run, context)


def _datasets(run: Any, context: str) -> list[tuple[str, str]]:
    datasets = []
    for dataset_input in run.inputs.dataset_inputs:
        tags = {tag.key: tag.value for tag in dataset_input.tags}
        if tags["mlflow.data.context"] == context:
            datasets.append((str(dataset_input.dataset.name), tags["sha256"]))
    return sorted(datasets)


def _step(run: Any) -> Step:
    [(name, digest)] = _datasets(run, "output")
    tags = run.data.tags
    parents = run.inputs.model_inputs or []
    return Step(
        name=name,
        digest=digest,
        folder=tags["snow.folder"],
        run_id=run.info.run_id,
        dagster_run_id=tags["dagster.run_id"],
        model_id=tags.get("snow.mlflow_model_id"),
        parent_model_id=parents[0].model_id if parents else None,
        inputs=tuple(_datasets(run, "input")),
    )
