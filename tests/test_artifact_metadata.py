"""What Dagster and MLflow show is part of the artifact: a reused one shows and records the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.cli import mlflow_rebuild
from snow_assets.defs.materialize import current_artifact
from snow_assets.plots import DPI, as_plot, new_figure
from snow_assets.recipe import SMOKE
from snow_assets.stages import StageResult, StageRun, stage
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.tracking import RunLink, TrackedModel, Tracking
from tests.stage_assets import asset_of

METRICS = [{"step": step, "time": 10.0 + step, "loss": 3.0 / step} for step in (1, 2, 3)]


@stage(group="pretraining", code_version="1", config=lambda _: {"rate": 0.1})
def small_checkpoint(run: StageRun) -> StageResult:
    """A model of nothing, with a plot, a table and metrics by step."""
    shards.put_file(run.folder, "model/weights", b"\0\1")
    figure = new_figure(4, 2)
    figure.add_subplot().plot([1, 2, 3], [3, 2, 1])
    return StageResult(
        stats={"final_auc": 0.75, "tokens": 20, "by reason": {"too_long": 2}},
        metadata={
            "loss": as_plot(figure, "Loss"),
            "table": dg.MetadataValue.md("| a |\n| - |\n| 1 |"),
            "device": "cpu",
            "speed": 12.5,
        },
        metrics=METRICS,
        model=TrackedModel(name="small_checkpoint", parent=None),
    )


def run(lake: str, tracking: Tracking, instance: dg.DagsterInstance) -> dg.AssetMaterialization:
    result = dg.materialize(
        [asset_of(small_checkpoint)],
        instance=instance,
        resources={"lake": Lake(url=lake), "tracking": tracking, "recipe": SMOKE},
    )
    [materialization] = result.asset_materializations_for_node("small_checkpoint")
    return materialization


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def test_a_reused_artifact_shows_the_same_page(lake_url: str, instance: dg.DagsterInstance) -> None:
    first = dict(run(lake_url, Tracking(uri=""), instance).metadata)
    again = dict(run(lake_url, Tracking(uri=""), instance).metadata)
    assert (first.pop("reused").value, again.pop("reused").value) == (False, True)
    assert again == first
    assert str(first["loss"].value).startswith("![Loss](data:image/png;base64,")
    assert first["table"].value.startswith("| a |")


def test_numbers_that_matter_are_entries_of_their_own(
    lake_url: str, instance: dg.DagsterInstance
) -> None:
    metadata = run(lake_url, Tracking(uri=""), instance).metadata
    assert isinstance(metadata["final_auc"], dg.FloatMetadataValue)
    assert isinstance(metadata["tokens"], dg.IntMetadataValue)
    assert metadata["stats"].value == {
        "final_auc": 0.75,
        "tokens": 20,
        "by reason": {"too_long": 2},
    }


def test_the_recipe_stands_on_the_materialization_and_its_run(
    lake_url: str, instance: dg.DagsterInstance
) -> None:
    materialization = run(lake_url, Tracking(uri=""), instance)
    assert (materialization.tags or {})["snow/recipe"] == "SMOKE"
    assert materialization.metadata["recipe"].value == "SMOKE"
    assert materialization.metadata["config"].value == {"rate": 0.1}
    assert materialization.metadata["recipe_values"].value["name"] == "SMOKE"
    [recorded] = instance.get_runs()
    assert recorded.tags["snow/recipe"] == "SMOKE"
    assert len(recorded.tags["snow/recipe_digest"]) == 16


def test_plots_are_png_files_of_the_artifact_that_its_digest_leaves_out(
    lake_url: str, instance: dg.DagsterInstance
) -> None:
    run(lake_url, Tracking(uri=""), instance)
    folder = current_artifact(Lake(url=lake_url), SMOKE, "small_checkpoint").folder
    manifest = shards.manifest(folder)
    assert [entry.name for entry in manifest.files] == ["model/weights"]
    assert manifest.digest == shards.content_digest(manifest.files)
    [plot] = [entry.name for entry in manifest.metadata_files if entry.name.endswith(".png")]
    content = shards.get_file(folder, plot)
    width = int.from_bytes(content[16:20], "big")
    assert (content[:4], width) == (b"\x89PNG", 4 * DPI)


class _KilledError(Exception):
    """What stands for a kill between the manifest and MLflow's record."""


@contextmanager
def killed_before_the_record(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def stop(*_: Any, **__: Any) -> RunLink:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "record", stop)
        with pytest.raises(_KilledError):
            yield


def test_what_a_kill_left_unrecorded_is_recorded_and_a_broken_store_is_rebuilt(
    lake_url: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snow_resources.mlflow_runs import client_of

    store = tmp_path / "mlflow.db"
    tracking = Tracking(uri=f"sqlite:///{store}", spool=str(tmp_path / "spool"))
    with killed_before_the_record(monkeypatch):
        run(lake_url, tracking, instance)
    run(lake_url, tracking, instance)

    def assert_whole(uri: str) -> None:
        client = client_of(uri)
        version = client.get_model_version_by_alias("small_checkpoint", "SMOKE")
        assert str(version.version) == "1"
        history = client.get_metric_history(str(version.run_id), "loss")
        assert [(entry.step, entry.value) for entry in history] == [(1, 3.0), (2, 1.5), (3, 1.0)]
        tags = client.get_run(str(version.run_id)).data.tags
        assert tags["dagster.run_id"] == instance.get_runs()[-1].run_id

    assert_whole(tracking.uri)
    broken = tmp_path / "broken" / "mlflow.db"
    broken.parent.mkdir()
    broken.write_bytes(b"SQLite format 3\0" + b"\7" * 4_000)
    (broken.parent / "mlflow.db-journal").write_bytes(b"half a transaction")
    other = Tracking(uri=f"sqlite:///{broken}", spool=str(tmp_path / "other-spool"))
    run(lake_url, other, instance)  # a store that cannot be opened stops no work
    assert other.waiting().num_records == 1
    assert mlflow_rebuild.rebuild(lake_url, other, SMOKE) == 1
    # Another spelling of the address: MLflow keeps a process's connections to the old file.
    assert_whole(f"sqlite:///{broken.parent}/./mlflow.db")
    assert other.waiting().num_records == 0
    assert len(list(broken.parent.glob("mlflow.db.old-*"))) >= 1
