"""Materializations in a real MLflow store."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_resources import tracking
from snow_resources.tracking import ALIAS, TrackedDataset, TrackedModel, Tracking

# MLflow's own SQLAlchemy warnings are none of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def dataset(name: str, digest: str) -> TrackedDataset:
    return TrackedDataset(name=name, url=f"/lake/{name}/g-{digest}", digest=digest * 64)


def record(tracker: Tracking, output: TrackedDataset, **changes: Any) -> tracking.RunLink:
    told: dict[str, Any] = {
        "asset": output.name.partition("/")[0], "partition": "all", "recipe": "SMOKE",
        "code_version": "1", "settings": {"phase": {"tokens": 5, "schedule": "cosine"}},
        "inputs": [], "output": output, "facts": {"kept": 3, "by": {"c++": 1}, "why": "text"},
        "metrics": [], "model": None, "started": time.time() - 5, "reused": False,
    }  # fmt: skip
    with dg.DagsterInstance.ephemeral() as instance:
        return tracker.record(dg.build_asset_context(instance=instance), **{**told, **changes})


@pytest.fixture
def tracker(tmp_path: Path) -> Tracking:
    return Tracking(
        uri=f"sqlite:///{tmp_path}/mlflow.db", ui_url="http://ui", spool=str(tmp_path / "spool")
    )


def test_a_materialization_is_a_finished_run_with_its_data_by_digest(tracker: Tracking) -> None:
    given, made = dataset("documents/stdlib", "a"), dataset("clean_corpus/all", "b")
    link = record(tracker, made, inputs=[given])
    run = tracking.connect(tracker.uri).get_run(link.ids["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time >= 5000
    assert run.data.params == {"phase.tokens": "5", "phase.schedule": "cosine"}
    assert run.data.metrics == {"kept": 3.0, "by.c__": 1.0}
    assert run.data.tags["snow.data_version"] == made.digest
    logged = {
        entry.dataset.name: (entry.dataset.digest, {tag.key: tag.value for tag in entry.tags})
        for entry in run.inputs.dataset_inputs
    }
    assert logged["documents/stdlib"][0] == given.digest[:32]
    assert logged["documents/stdlib"][1]["mlflow.data.context"] == "input"
    assert logged["clean_corpus/all"][1]["mlflow.data.context"] == "output"
    assert logged["clean_corpus/all"][1]["snow.digest"] == made.digest
    assert link.metadata["mlflow_run"].url.endswith(link.ids["mlflow_run_id"])


def test_a_reused_generation_is_linked_to_the_run_that_made_it(tracker: Tracking) -> None:
    made = dataset("clean_corpus/all", "b")
    assert record(tracker, made).ids == record(tracker, made, reused=True).ids


def test_a_checkpoint_is_registered_and_names_its_parent(tracker: Tracking) -> None:
    first, second = dataset("general_checkpoint/all", "a"), dataset("continued_checkpoint/all", "b")
    steps = [{"step": step, "time": time.time(), "loss": 3.0 - step} for step in range(3)]
    parent = record(
        tracker, first, metrics=steps, model=TrackedModel(name="general_checkpoint", parent=None)
    )
    child = record(
        tracker,
        second,
        inputs=[first],
        model=TrackedModel(name="continued_checkpoint", parent="general_checkpoint"),
    )
    client = tracking.connect(tracker.uri)
    version = client.get_model_version_by_alias("continued_checkpoint", ALIAS)
    assert version.run_id == child.ids["mlflow_run_id"]
    assert version.tags["snow.parent_model_id"] == parent.ids["mlflow_model_id"]
    (given,) = client.get_run(version.run_id).inputs.model_inputs
    assert given.model_id == parent.ids["mlflow_model_id"]
    history = client.get_metric_history(parent.ids["mlflow_run_id"], "loss")
    assert [(entry.step, entry.value) for entry in history] == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_a_parent_that_is_no_input_is_refused(tracker: Tracking) -> None:
    orphan = TrackedModel(name="continued_checkpoint", parent="general_checkpoint")
    with pytest.raises(ValueError, match="not among its inputs"):
        record(tracker, dataset("continued_checkpoint/all", "b"), model=orphan)


def test_what_a_missing_server_could_not_hear_is_told_to_the_next(
    tracker: Tracking, tmp_path: Path
) -> None:
    deaf = Tracking(uri="http://127.0.0.1:9", spool=tracker.spool)
    assert record(deaf, dataset("documents/stdlib", "a")).ids == {}
    assert len(list(Path(tracker.spool).glob("*.json"))) == 1
    record(tracker, dataset("clean_corpus/all", "b"))
    assert list(Path(tracker.spool).glob("*.json")) == []
    client = tracking.connect(tracker.uri)
    runs = client.search_runs([tracking.experiment_id(client)])
    assert {run.info.run_name for run in runs} == {"documents", "clean_corpus"}


def test_without_an_address_nothing_is_recorded() -> None:
    assert record(Tracking(uri=""), dataset("documents/stdlib", "a")) == tracking.RunLink()
