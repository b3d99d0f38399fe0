"""Records while MLflow's store is down or refuses them, and when their writer is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from snow_resources.tracking import TrackedModel, Tracking
from tests.resources.mlflow_records import UNREACHABLE, a_record, record, run_of


def test_a_store_that_is_down_loses_nothing(store: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    down = Tracking(uri=UNREACHABLE, spool=str(spool))
    model = TrackedModel(name="spooled_checkpoint", parent=None)
    link = record(down, "spooled_checkpoint", model=model, stats={"rows": 7})
    assert link.ids == {}
    assert len(list(spool.glob("*.json"))) == 1

    record(Tracking(uri=store, spool=str(spool)), "after_the_outage")
    assert list(spool.glob("*.json")) == []

    found = record(Tracking(uri=store), "spooled_checkpoint", model=model)
    assert run_of(store, found).data.metrics["rows"] == 7
    assert found.ids["mlflow_model_version"] == "1"


class _KilledError(Exception):
    """What stands for a kill between two requests."""


def test_a_record_that_was_killed_after_any_request_is_completed_in_its_own_run(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from snow_resources import mlflow_runs

    record(Tracking(uri=store), "torn_parent", model=TrackedModel(name="torn_parent", parent=None))
    torn = a_record(
        "torn_child",
        inputs=["torn_packs", "torn_parent"],
        stats={"rows": 7},
        model=TrackedModel(name="torn_child", parent="torn_parent"),
        metrics=[{"step": 1, "loss": 2.0}],
    )
    writes = [
        "create_run",
        "log_inputs",
        "create_registered_model",
        "create_logged_model",
        "create_model_version",
        "set_logged_model_tags",
        "finalize_logged_model",
        "log_outputs",
        "set_registered_model_alias",
        "log_batch",
        "set_terminated",
        "set_tag",
    ]
    for name in writes:
        with monkeypatch.context() as patch:
            original = getattr(MlflowClient, name)

            def stop(*arguments: Any, _original: Any = original, **options: Any) -> None:
                _original(*arguments, **options)
                raise _KilledError

            patch.setattr(MlflowClient, name, stop)
            with pytest.raises(_KilledError):
                mlflow_runs.write(store, torn)
    ids = mlflow_runs.write(store, torn)
    client = mlflow_runs.client_of(store)
    runs = client.search_runs(
        [ids["mlflow_experiment_id"]], "tags.`dagster.asset_key` = 'torn_child'"
    )
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert len(client.search_model_versions("name = 'torn_child'")) == 1
    models = client.search_logged_models(
        [ids["mlflow_experiment_id"]], filter_string="name = 'torn_child'"
    )
    assert [model.model_id for model in models] == [ids["mlflow_model_id"]]
    run = client.get_run(runs[0].info.run_id)
    assert len(run.inputs.model_inputs) == len(run.outputs.model_outputs) == 1
    assert len(client.get_metric_history(runs[0].info.run_id, "loss")) == 1


def test_without_a_spool_the_stores_error_is_raised() -> None:
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        record(Tracking(uri=UNREACHABLE), "lost")


def test_a_record_that_mlflow_refuses_for_good_holds_up_no_other(
    store: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    nameless = TrackedModel(name="", parent=None)
    record(Tracking(uri=UNREACHABLE, spool=str(spool)), "nameless", model=nameless)
    link = record(Tracking(uri=store, spool=str(spool)), "after_the_refusal")
    assert link.ids["mlflow_run_id"]
    assert [path.suffix for path in sorted(spool.iterdir()) if path.name != ".lock"] == [".refused"]
    link = record(Tracking(uri=store, spool=str(spool)), "nameless_again", model=nameless)
    assert not link.ids
    assert link.metadata["mlflow"].startswith("refused; the record is in ")


def test_a_damaged_record_is_set_aside_and_named_with_the_remedy(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "spool"
    record(Tracking(uri=UNREACHABLE, spool=str(spool)), "damaged")
    [waiting] = spool.glob("*.json")
    waiting.write_bytes(waiting.read_bytes()[:-9])
    link = record(Tracking(uri=store, spool=str(spool)), "after_the_damage")
    assert link.ids["mlflow_run_id"]
    assert [path.suffix for path in spool.iterdir() if path.name != ".lock"] == [".damaged"]
    assert "make mlflow-rebuild" in caplog.text


def test_what_waits_is_told_with_its_reason_and_written_at_the_next_start(
    store: str, tmp_path: Path
) -> None:
    spool = str(tmp_path / "spool")
    down = Tracking(uri=UNREACHABLE, spool=spool)
    record(down, "waits_one")
    record(down, "waits_two")
    message = down.waiting().message()
    assert message.startswith(f"2 records wait for MLflow in {spool}: ")
    assert "127.0.0.1" in message
    assert "make mlflow-rebuild" in message
    assert Tracking(uri=store, spool=spool).write_waiting().message() == ""


def num_bytes(path: Path) -> int:
    """0 of a file that is gone, as SQLite's journals soon are."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_first_write_leaves_no_store_and_the_next_one_makes_it(
    tmp_path: Path, deadly: signal.Signals
) -> None:
    program = (
        "import sys; from snow_resources.mlflow_store import prepare_store;"
        "import mlflow.store.tracking.sqlalchemy_store; print('ready', flush=True);"
        "prepare_store(sys.argv[1])"
    )
    store = tmp_path / "mlflow.db"
    command = [sys.executable, "-c", program, f"sqlite:///{store}"]
    for _ in range(5):  # on a busy machine the store may be whole before the signal comes
        store.unlink(missing_ok=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            while not any(map(num_bytes, tmp_path.glob(".mlflow.db.new-*"))):
                assert writer.poll() is None
                time.sleep(0.001)
            writer.send_signal(deadly)
        if not store.exists():
            break
    assert not store.exists()
    link = record(Tracking(uri=f"sqlite:///{store}", spool=str(tmp_path / "spool")), "after")
    assert link.ids["mlflow_run_id"]
    assert [path.name for path in tmp_path.glob(".mlflow.db.new-*")] == []
