"""Materializations in a real MLflow store, and what happens while it is down."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import TypeAdapter

from snow_resources.lineage import ancestors, descendants
from snow_resources.tracking import Record, RunLink, TrackedDataset, TrackedModel, Tracking

RECIPE = "TINY"
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nobody listens


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store for the whole module, since making one takes seconds; tests use their own names."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def dataset(name: str) -> TrackedDataset:
    return TrackedDataset(
        name=f"{name}/all", url=f"/lake/{name}/all/{sha(name)[:8]}", digest=sha(name)
    )


def record(
    tracking: Tracking,
    asset: str,
    *,
    inputs: Sequence[str] = (),
    model: TrackedModel | None = None,
    settings: Any = None,
    facts: dict[str, Any] | None = None,
    metrics: Sequence[dict[str, Any]] = (),
    reused: bool = False,
) -> RunLink:
    return tracking.record(
        dg.build_asset_context(), asset=asset, partition="all", recipe=RECIPE, code_version="1",
        settings=settings or {}, inputs=[dataset(name) for name in inputs], output=dataset(asset),
        facts=facts or {}, metrics=metrics, model=model, started=time.time() - 5, reused=reused,
    )  # fmt: skip


def run_of(store: str, link: RunLink) -> Any:
    from snow_resources.mlflow_runs import client_of

    return client_of(store).get_run(link.ids["mlflow_run_id"])


def test_without_a_store_nothing_is_recorded() -> None:
    assert record(Tracking(uri=""), "corpus").ids == {}


def test_a_run_names_its_datasets_by_the_digests_of_their_manifests(store: str) -> None:
    run = run_of(store, record(Tracking(uri=store), "scores", inputs=["texts"]))
    found = {
        (
            given.dataset.name,
            given.dataset.digest,
            {tag.key: tag.value for tag in given.tags}["mlflow.data.context"],
            {tag.key: tag.value for tag in given.tags}["sha256"],
        )
        for given in run.inputs.dataset_inputs
    }
    assert found == {
        ("texts/all", sha("texts")[:32], "input", sha("texts")),
        ("scores/all", sha("scores")[:32], "output", sha("scores")),
    }


def test_a_run_keeps_settings_facts_and_metrics_by_step(store: str) -> None:
    steps = [{"step": step, "time": 1.0 + step, "loss": 1 / (step + 1)} for step in range(1_500)]
    link = record(
        Tracking(uri=store),
        "trained",
        settings={"phase": {"tokens": 100, "note": "x" * 900}, "languages": ["c", "sql"]},
        facts={"rows": 3, "by reason": {"too_long": 2}, "passed": True},
        metrics=steps,
    )
    run = run_of(store, link)
    assert run.data.params["phase.tokens"] == "100"
    assert run.data.params["phase.note"] == "x" * 500
    assert run.data.params["languages"] == '["c", "sql"]'
    assert run.data.metrics["rows"] == 3
    assert run.data.metrics["by reason.too_long"] == 2
    assert "passed" not in run.data.metrics

    from snow_resources.mlflow_runs import client_of

    history = client_of(store).get_metric_history(link.ids["mlflow_run_id"], "loss")
    assert [entry.step for entry in history] == list(range(1_500))


def test_a_run_is_finished_and_took_as_long_as_the_work(store: str) -> None:
    run = run_of(store, record(Tracking(uri=store), "slow"))
    assert run.info.status == "FINISHED"
    assert 4_000 < run.info.end_time - run.info.start_time < 60_000
    assert run.data.tags["data_version"] == sha("slow")
    assert run.data.tags["dagster.asset_key"] == "slow"


def test_a_reused_generation_is_linked_to_the_run_that_made_it(store: str) -> None:
    tracking = Tracking(uri=store)
    model = TrackedModel(name="reused_checkpoint", parent=None)
    made = record(tracking, "reused_checkpoint", model=model)
    assert record(tracking, "reused_checkpoint", reused=True).ids == made.ids


def test_a_reused_generation_that_was_never_recorded_is_recorded(store: str) -> None:
    link = record(Tracking(uri=store), "made_without_a_store", reused=True)
    assert run_of(store, link).data.tags["snow.reused"] == "true"


def test_a_checkpoint_is_registered_and_its_run_takes_its_parent_in(store: str) -> None:
    tracking = Tracking(uri=store)
    record(tracking, "first_checkpoint", model=TrackedModel(name="first_checkpoint", parent=None))
    parent = record(
        tracking, "first_checkpoint", model=TrackedModel(name="first_checkpoint", parent=None)
    )
    child = record(
        tracking,
        "second_checkpoint",
        inputs=["second_packs", "first_checkpoint"],
        model=TrackedModel(name="second_checkpoint", parent="first_checkpoint"),
    )
    run = run_of(store, child)
    parents = [given.model_id for given in run.inputs.model_inputs]
    assert parents == [parent.ids["mlflow_model_id"]]
    made = [given.model_id for given in run.outputs.model_outputs]
    assert made == [child.ids["mlflow_model_id"]]

    from snow_resources.mlflow_runs import client_of

    version = client_of(store).get_model_version_by_alias("second_checkpoint", RECIPE)
    assert version.source == f"models:/{child.ids['mlflow_model_id']}"
    assert version.tags["folder"] == dataset("second_checkpoint").url


def test_the_recipes_alias_moves_only_to_a_promoted_model_and_back_again(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    def alias() -> str:
        return str(client_of(store).get_model_version_by_alias("judge", RECIPE).version)

    tracking = Tracking(uri=store)
    good = TrackedModel(name="judge", parent=None, kind="annotator")
    record(tracking, "judge", model=good)
    first = alias()
    record(tracking, "judge", model=replace(good, is_promoted=False))
    assert alias() == first
    record(tracking, "judge", model=good)
    assert alias() != first
    record(tracking, "judge", reused=True)  # the run of the first is the one that is found
    assert alias() == first


def test_a_parent_that_is_no_input_is_an_error(store: str) -> None:
    with pytest.raises(ValueError, match="parent first_checkpoint, which is none of its inputs"):
        record(
            Tracking(uri=store),
            "orphan",
            model=TrackedModel(name="orphan", parent="first_checkpoint"),
        )


def test_links_lead_to_the_ui_when_there_is_one(store: str) -> None:
    with_ui = record(Tracking(uri=store, ui_url="http://mlflow:5000/"), "shown")
    url = with_ui.metadata["mlflow_run"].url
    assert url.startswith("http://mlflow:5000/#/experiments/")
    assert url.endswith(with_ui.ids["mlflow_run_id"])
    without = record(Tracking(uri=store), "unshown")
    assert without.metadata["mlflow_run_id"] == without.ids["mlflow_run_id"]
    assert "mlflow_run" not in without.metadata


def test_a_store_that_is_down_loses_nothing(store: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    down = Tracking(uri=UNREACHABLE, spool=str(spool))
    model = TrackedModel(name="spooled_checkpoint", parent=None)
    link = record(down, "spooled_checkpoint", model=model, facts={"rows": 7})
    assert link.ids == {}
    assert len(list(spool.glob("*.json"))) == 1

    record(Tracking(uri=store, spool=str(spool)), "after_the_outage")
    assert list(spool.glob("*.json")) == []

    found = record(Tracking(uri=store), "spooled_checkpoint", reused=True)
    assert run_of(store, found).data.metrics["rows"] == 7
    assert found.ids["mlflow_model_version"] == "1"


def test_a_record_that_was_written_in_part_is_completed_in_its_own_run(
    store: str, tmp_path: Path
) -> None:
    from snow_resources import mlflow_runs

    spool = tmp_path / "spool"
    record(Tracking(uri=UNREACHABLE, spool=str(spool)), "interrupted")
    [waiting] = spool.glob("*.json")
    told = TypeAdapter(Record).validate_json(waiting.read_bytes())
    # What an outage after the first request leaves: a run that has only its tags.
    client = mlflow_runs.client_of(store)
    experiment = mlflow_runs._experiment(client)
    begun = mlflow_runs._created(client, experiment, told)

    record(Tracking(uri=store, spool=str(spool)), "after_the_interruption")
    assert client.get_run(begun).info.status == "FINISHED"
    runs = client.search_runs([experiment], "tags.`dagster.asset_key` = 'interrupted'")
    assert len(runs) == 1


def test_without_a_spool_the_stores_error_is_raised() -> None:
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        record(Tracking(uri=UNREACHABLE), "lost")


def record_a_recipe(store: str) -> None:
    """sources -> corpus -> packs -> two checkpoints; another source leads nowhere."""
    tracking = Tracking(uri=store)
    record(tracking, "source_a")
    record(tracking, "source_b")
    record(tracking, "corpus", inputs=["source_a"])
    record(tracking, "packs", inputs=["corpus"])
    record(tracking, "base", inputs=["packs"], model=TrackedModel(name="base", parent=None))
    record(
        tracking, "tuned", inputs=["packs", "base"],
        model=TrackedModel(name="tuned", parent="base"),
    )  # fmt: skip


def test_lineage_walks_from_a_registered_model_to_its_sources_and_forward_again(
    store: str,
) -> None:
    record_a_recipe(store)
    walked = ancestors(store, "tuned", alias=RECIPE)
    assert [step.name for step in walked] == [
        "tuned/all", "base/all", "packs/all", "corpus/all", "source_a/all",
    ]  # fmt: skip
    tuned, base = walked[:2]
    assert tuned.parent_model_id == base.model_id
    assert all(step.digest == sha(step.name.removesuffix("/all")) for step in walked)

    reached = {step.name for step in descendants(store, "source_a/all", sha("source_a"))}
    assert reached == {"corpus/all", "packs/all", "base/all", "tuned/all"}
    assert descendants(store, "source_b/all", sha("source_b")) == []


def test_a_record_that_mlflow_refuses_for_good_holds_up_no_other(
    store: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    nameless = TrackedModel(name="", parent=None)
    record(Tracking(uri=UNREACHABLE, spool=str(spool)), "nameless", model=nameless)
    link = record(Tracking(uri=store, spool=str(spool)), "after_the_refusal")
    assert link.ids["mlflow_run_id"]
    assert [path.suffix for path in sorted(spool.iterdir()) if path.name != ".lock"] == [".refused"]
