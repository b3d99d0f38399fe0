"""The MLflow run of work in progress: its metrics, its end, and a store that is down meanwhile."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from snow_resources.live_runs import LiveRun
from snow_resources.tracking import PENDING_DIGEST, Record, TrackedDataset, TrackedModel, Tracking
from tests.resources.lineage import descendants
from tests.resources.mlflow_records import UNREACHABLE, a_record, dataset, sha

LOG = logging.getLogger("test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def entries(steps: range) -> list[dict[str, Any]]:
    return [{"step": step, "time": time.time(), "loss": 1 / step, "tokens": step} for step in steps]


def finished(asset: str, metrics: Sequence[dict[str, Any]]) -> Record:
    return a_record(
        asset,
        inputs=["live_packs"],
        model=TrackedModel(name=asset, parent=None),
        stats={"tokens": 9},
        metrics=metrics,
    )


def live_run(store: str, asset: str) -> LiveRun:
    """Of the artifact that `finished` records."""
    record = finished(asset, [])
    output = TrackedDataset(name=record.output.name, url=record.output.url, digest=PENDING_DIGEST)
    tags = {**record.tags, "data_version": PENDING_DIGEST}
    record = replace(record, output=output, tags=tags, stats={})
    return LiveRun(tracking=Tracking(uri=store), record=record, log=LOG)


def runs_of(store: str, asset: str) -> list[Any]:
    from snow_resources.mlflow_runs import client_of

    client = client_of(store)
    experiment = client.get_experiment_by_name("snow")
    condition = f"tags.`dagster.asset_key` = '{asset}'"
    return list(client.search_runs([experiment.experiment_id], condition))


def steps_of(store: str, run: Any, metric: str = "loss") -> list[int]:
    from snow_resources.mlflow_runs import client_of

    history = client_of(store).get_metric_history(run.info.run_id, metric)
    return sorted(point.step for point in history)


def test_a_resumed_attempt_continues_the_run_and_repeats_no_step(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    with pytest.raises(RuntimeError), live_run(store, "live_resumed") as first:
        first.log_metrics(entries(range(1, 4)))
        [run] = runs_of(store, "live_resumed")
        assert (run.info.status, steps_of(store, run)) == ("RUNNING", [1, 2, 3])
        raise RuntimeError("the job was killed")
    [run] = runs_of(store, "live_resumed")
    assert run.info.status == "FAILED"
    with live_run(store, "live_resumed") as second:
        second.log_metrics([*entries(range(1, 4)), *entries(range(3, 6))])
    metrics = entries(range(1, 8))  # 6 and 7 came after the last poll
    link = Tracking(uri=store).record(LOG, finished("live_resumed", metrics))
    [run] = runs_of(store, "live_resumed")
    assert run.info.run_id == link.ids["mlflow_run_id"]
    assert run.info.status == "FINISHED"
    assert steps_of(store, run) == steps_of(store, run, "tokens") == list(range(1, 8))
    assert run.data.metrics["final_tokens"] == 9
    assert run.data.tags["data_version"] == sha("live_resumed")
    model = client_of(store).get_logged_model(link.ids["mlflow_model_id"])
    assert str(model.status) == "READY"
    assert model.tags["data_version"] == sha("live_resumed")
    assert {point.step for point in model.metrics if point.key == "loss"} == set(range(1, 8))


def test_what_a_store_did_not_accept_is_logged_when_it_is_back(store: str) -> None:
    run = live_run(UNREACHABLE, "live_outage")
    run.log_metrics(entries(range(1, 3)))
    run.tracking = Tracking(uri=store)
    run.log_metrics(entries(range(3, 5)))
    [logged] = runs_of(store, "live_outage")
    assert steps_of(store, logged) == [1, 2, 3, 4]


def test_work_that_is_recorded_already_leaves_no_second_run(store: str) -> None:
    record = finished("live_again", entries(range(1, 4)))
    link = Tracking(uri=store).record(LOG, record)
    with live_run(store, "live_again") as again:
        again.log_metrics(entries(range(1, 3)))
    assert len(runs_of(store, "live_again")) == 2
    assert Tracking(uri=store).record(LOG, record).ids == link.ids
    [run] = runs_of(store, "live_again")
    assert steps_of(store, run) == [1, 2, 3]


def test_lineage_leaves_out_work_in_progress(store: str) -> None:
    live_run(store, "live_unfinished").log_metrics(entries(range(1, 3)))
    packs = dataset("live_packs")
    names = {step.name for step in descendants(store, packs.name, packs.digest)}
    assert "live_unfinished/all" not in names
