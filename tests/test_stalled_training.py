"""Training without steps fails its checkpoint's check until steps go on."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from snow_assets.defs.stalled_training import CHECK, STALLED_TAG, report_stall

CHECKPOINT = "general_checkpoint"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def latest(instance: dg.DagsterInstance) -> tuple[bool, str] | None:
    """The check's last result: passed, and its description."""
    key = dg.AssetCheckKey(dg.AssetKey(CHECKPOINT), CHECK)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    evaluation = records[key].evaluation if key in records else None
    return None if evaluation is None else (evaluation.passed, str(evaluation.description))


def tag(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    stored = instance.get_run_by_id(run.run_id)
    return stored.tags.get(STALLED_TAG) if stored else None


def test_a_stall_fails_the_check_until_steps_go_on(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    report_stall(instance, run.run_id, CHECKPOINT, "no step for 2 min", has_check=True)
    assert latest(instance) == (False, f"run {run.run_id}: no step for 2 min")
    assert tag(instance, run) == "true"
    report_stall(instance, run.run_id, CHECKPOINT, None, has_check=True)
    assert latest(instance) == (True, f"run {run.run_id}: makes steps again")
    assert tag(instance, run) == "false"


def test_the_check_of_a_stalled_run_that_is_cancelled_stays_failed(
    instance: dg.DagsterInstance,
) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    report_stall(instance, run.run_id, CHECKPOINT, "no step for 2 min", has_check=True)
    instance.report_run_canceled(run)
    passed, _ = latest(instance) or (True, "")
    assert not passed


def test_a_checkpoint_that_the_recipe_has_not_has_no_check(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    report_stall(instance, run.run_id, CHECKPOINT, "no step for 2 min", has_check=False)
    assert (latest(instance), tag(instance, run)) == (None, "true")


def test_a_run_that_is_no_part_of_the_instance_reports_nothing(
    instance: dg.DagsterInstance,
) -> None:
    report_stall(instance, "elsewhere", CHECKPOINT, "no step for 2 min", has_check=True)
    assert latest(instance) is None
