"""Walk MLflow's records: from a registered model back to its sources, from a dataset forward.

A step of the walk is a run, found by the digest of what it made. Everything else about it (the
Dagster run, the folder in the lake) stands in its tags.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snow_resources.mlflow_runs import DIGEST_CHARS, EXPERIMENT, client_of


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
    inputs: tuple[tuple[str, str], ...]  # name and digest of each dataset that it read


def ancestors(uri: str, model: str, *, alias: str) -> list[Step]:
    """What a registered model was made from, itself first, each once, breadth first."""
    client = client_of(uri)
    version = client.get_model_version_by_alias(model, alias)
    if version.run_id is None:
        raise LookupError(f"{model} {alias!r} was registered by hand: no run tells its inputs")
    start = _step(client.get_run(version.run_id))

    def parents(step: Step) -> list[Step]:
        found = [_maker(uri, name, digest) for name, digest in step.inputs]
        return [made for made in found if made is not None]

    return _walk([start], parents)


def descendants(uri: str, name: str, digest: str) -> list[Step]:
    """What was made from a dataset, directly or not, each once, breadth first."""
    return _walk(_readers(uri, name, digest), lambda step: _readers(uri, step.name, step.digest))


def _walk(first: list[Step], following: Callable[[Step], list[Step]]) -> list[Step]:
    found: dict[tuple[str, str], Step] = {}
    waiting = list(first)
    while waiting:
        step = waiting.pop(0)
        if (step.name, step.digest) not in found:
            found[step.name, step.digest] = step
            waiting += following(step)
    return list(found.values())


def _maker(uri: str, name: str, digest: str) -> Step | None:
    found = _runs(uri, name, digest, "output")
    return found[0] if found else None


def _readers(uri: str, name: str, digest: str) -> list[Step]:
    return _runs(uri, name, digest, "input")


def _runs(uri: str, name: str, digest: str, context: str) -> list[Step]:
    client = client_of(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        raise LookupError(f"{uri} has no experiment {EXPERIMENT!r}: nothing was recorded there")
    token, found = None, []
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            f"dataset.digest = '{digest[:DIGEST_CHARS]}' and dataset.context = '{context}'",
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += [_step(run) for run in page if _has(run, name, digest, context)]
        token = page.token
        if not token:
            return found


def _has(run: Any, name: str, digest: str, context: str) -> bool:
    """MLflow's filter takes each condition from any dataset of the run; all must hold of one."""
    return (name, digest) in _datasets(run, context)


def _datasets(run: Any, context: str) -> list[tuple[str, str]]:
    found = []
    for given in run.inputs.dataset_inputs:
        tags = {tag.key: tag.value for tag in given.tags}
        if tags["mlflow.data.context"] == context:
            found.append((str(given.dataset.name), tags["sha256"]))
    return sorted(found)


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
