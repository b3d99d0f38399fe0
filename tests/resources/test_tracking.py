"""Materializations in a real MLflow store."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snow_resources.tracking import TrackedModel, Tracking, default_ui_url
from tests.resources.lineage import ancestors, descendants
from tests.resources.mlflow_records import RECIPE, a_record, dataset, record, run_of, sha


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


def test_a_run_keeps_config_stats_and_metrics_by_step(store: str) -> None:
    steps = [{"step": step, "time": 1.0 + step, "loss": 1 / (step + 1)} for step in range(1_500)]
    link = record(
        Tracking(uri=store),
        "trained",
        config={"phase": {"tokens": 100, "note": "x" * 900}, "languages": ["c", "sql"]},
        stats={"rows": 3, "by reason": {"too_long": 2}, "passed": True},
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


def test_plots_of_the_artifact_are_artifacts_of_the_run(store: str, tmp_path: Path) -> None:
    from snow_resources.mlflow_runs import client_of

    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "plot_loss-0123.png").write_bytes(b"a plot")
    made = a_record("plotted")
    output = replace(made.output, url=str(tmp_path))
    made = replace(made, output=output, plots={"loss": "metadata/plot_loss-0123.png"})
    link = Tracking(uri=store).record(logging.getLogger("test"), made)
    folder = client_of(store).download_artifacts(link.ids["mlflow_run_id"], "plots")
    assert [(path.name, path.read_bytes()) for path in Path(folder).iterdir()] == [
        ("loss.png", b"a plot")
    ]


def test_a_plot_that_cannot_be_stored_does_not_keep_a_record_waiting(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = replace(a_record("unplotted"), plots={"loss": "metadata/missing.png"})
    link = Tracking(uri=store).record(logging.getLogger("test"), made)
    assert run_of(store, link).info.status == "FINISHED"
    assert "unplotted has no plots in MLflow" in caplog.text


@pytest.mark.parametrize("key", [None, "a stranger's"])
def test_an_object_store_that_refuses_plots_does_not_keep_a_record_waiting(
    key: str | None,
    s3_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import boto3

    from snow_resources.mlflow_runs import EXPERIMENT, client_of

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if key is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv(
        "MLFLOW_S3_ENDPOINT_URL", s3_server if key else f"{s3_server}/"
    )  # a client of its own
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would hold earlier keys
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client_of(store).create_experiment(EXPERIMENT, f"s3://mlflow-{key is None}/artifacts")
    (tmp_path / "loss.png").write_bytes(b"a plot")
    made = a_record("refused")
    output = replace(made.output, url=str(tmp_path))
    made = replace(made, output=output, plots={"loss": "loss.png"})
    link = Tracking(uri=store).record(logging.getLogger("test"), made)
    assert run_of(store, link).info.status == "FINISHED"
    assert "refused has no plots in MLflow: " in caplog.text


def test_a_run_is_finished_and_took_as_long_as_the_work(store: str) -> None:
    run = run_of(store, record(Tracking(uri=store), "slow"))
    assert run.info.status == "FINISHED"
    assert 4_000 < run.info.end_time - run.info.start_time < 60_000
    assert run.data.tags["data_version"] == sha("slow")
    assert run.data.tags["dagster.asset_key"] == "slow"


def test_recording_twice_changes_nothing(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    tracking = Tracking(uri=store)
    model = TrackedModel(name="recorded_twice", parent=None)
    fields: dict[str, Any] = {"model": model, "metrics": [{"step": 1, "loss": 2.0}]}
    first = record(tracking, "recorded_twice", **fields)
    assert record(tracking, "recorded_twice", **fields).ids == first.ids
    client = client_of(store)
    assert len(client.search_model_versions("name = 'recorded_twice'")) == 1
    assert len(client.get_metric_history(first.ids["mlflow_run_id"], "loss")) == 1


def test_a_model_that_somebody_deleted_is_registered_again(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    tracking = Tracking(uri=store)
    model = TrackedModel(name="deleted_checkpoint", parent=None)
    record(tracking, "deleted_checkpoint", model=model)
    client_of(store).delete_registered_model("deleted_checkpoint")
    again = record(tracking, "deleted_checkpoint", model=model)
    version = client_of(store).get_model_version_by_alias("deleted_checkpoint", RECIPE)
    assert str(version.version) == again.ids["mlflow_model_version"]


def test_another_recipe_that_reuses_a_model_gets_an_alias_of_its_own(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    tracking = Tracking(uri=store)
    model = TrackedModel(name="shared_checkpoint", parent=None)
    first = record(tracking, "shared_checkpoint", model=model)
    again = record(tracking, "shared_checkpoint", model=model, recipe="OTHER")
    assert again.ids == first.ids
    version = client_of(store).get_model_version_by_alias("shared_checkpoint", "OTHER")
    assert str(version.version) == first.ids["mlflow_model_version"]


def test_the_logged_model_has_metrics_parameters_a_data_set_and_its_version(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    link = record(
        Tracking(uri=store),
        "whole_checkpoint",
        inputs=["whole_packs"],
        model=TrackedModel(name="whole_checkpoint", parent=None),
        config={"rate": 0.1},
        metrics=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}],
        stats={"tokens": 7},
    )
    logged = client_of(store).get_logged_model(link.ids["mlflow_model_id"])
    assert str(logged.status) == "READY"
    assert logged.params == {"rate": "0.1"}
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [
        {"name": "whole_checkpoint", "version": link.ids["mlflow_model_version"]}
    ]
    values = {(metric.key, metric.step): metric for metric in logged.metrics}
    assert values["loss", 2].value == 1.0
    assert values["tokens", 2].value == 7
    assert {metric.dataset_name for metric in logged.metrics} == {"whole_packs/all"}


def test_a_final_number_makes_no_spike_in_the_curve_of_its_name(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    link = record(
        Tracking(uri=store),
        "curved",
        metrics=[{"step": 3, "tokens": 10}, {"step": 4, "tokens": 20}],
        stats={"tokens": 20, "rows": 2},
    )
    client, run = client_of(store), link.ids["mlflow_run_id"]
    points = [(entry.step, entry.value) for entry in client.get_metric_history(run, "tokens")]
    assert sorted(points) == [(3, 10), (4, 20)]
    assert client.get_run(run).data.metrics["final_tokens"] == 20
    assert client.get_run(run).data.metrics["rows"] == 2


def test_runs_of_a_recipe_are_nested_in_an_experiment_of_model_development(store: str) -> None:
    from snow_resources.mlflow_runs import client_of

    parents = [
        run_of(store, record(Tracking(uri=store), name)).data.tags["mlflow.parentRunId"]
        for name in ("nested_one", "nested_two")
    ]
    assert parents[0] == parents[1]
    client = client_of(store)
    assert client.get_run(parents[0]).info.run_name == f"recipe {RECIPE}"
    experiment = client.get_experiment_by_name("snow")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


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
    record(tracking, "judge", model=replace(good, is_promoted=False), version="2")
    assert alias() == first
    record(tracking, "judge", model=good, version="3")
    assert alias() != first
    record(tracking, "judge", model=good)  # the recipe comes back to the first
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


def record_a_recipe(store: str) -> None:
    """sources -> corpus -> packs -> two checkpoints; another source leads nowhere."""
    tracking = Tracking(uri=store)
    record(tracking, "source_a")
    record(tracking, "source_b")
    record(tracking, "corpus", inputs=["source_a"])
    record(tracking, "packs", inputs=["corpus"])
    record(tracking, "base", inputs=["packs"], model=TrackedModel(name="base", parent=None))
    record(
        tracking,
        "tuned",
        inputs=["packs", "base"],
        model=TrackedModel(name="tuned", parent="base"),
    )


def test_lineage_walks_from_a_registered_model_to_its_sources_and_forward_again(
    store: str,
) -> None:
    record_a_recipe(store)
    walked = ancestors(store, "tuned", alias=RECIPE)
    assert [step.name for step in walked] == [
        "tuned/all",
        "base/all",
        "packs/all",
        "corpus/all",
        "source_a/all",
    ]
    tuned, base = walked[:2]
    assert tuned.parent_model_id == base.model_id
    assert all(step.digest == sha(step.name.removesuffix("/all")) for step in walked)

    reached = {step.name for step in descendants(store, "source_a/all", sha("source_a"))}
    assert reached == {"corpus/all", "packs/all", "base/all", "tuned/all"}
    assert descendants(store, "source_b/all", sha("source_b")) == []


def test_links_follow_the_configured_port() -> None:
    assert default_ui_url("sqlite:///a.db", {}) == "http://localhost:5000"
    assert default_ui_url("sqlite:///a.db", {"MLFLOW_PORT": "7001"}) == "http://localhost:7001"
    assert default_ui_url("https://mlflow.example", {}) == "https://mlflow.example"
    chosen = {"SNOW_MLFLOW_UI": "https://ui.example"}
    assert default_ui_url("https://mlflow.example", chosen) == "https://ui.example"
