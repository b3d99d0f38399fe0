"""Training without steps fails its checkpoint's check until steps go on or the run is over."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.test_utils import create_run_for_test

from snow_assets.defs.pretraining import STALLED_ASSET_TAG, STALLED_TAG
from snow_assets.defs.stalled_training import CHECK, stalled_training


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def tick(
    instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[tuple[str, bool]], str | None]:
    """The checks that the sensor evaluates, and its cursor."""
    context = dg.build_sensor_context(instance, cursor=cursor)
    result = stalled_training(context)
    assert isinstance(result, dg.SensorResult)
    evaluations = [
        (event.asset_key.to_user_string(), event.passed)
        for event in result.asset_events
        if isinstance(event, dg.AssetCheckEvaluation) and event.check_name == CHECK
    ]
    return evaluations, result.cursor


def training(
    instance: dg.DagsterInstance,
    stalled: str,
    asset: str = "general_checkpoint",
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
) -> dg.DagsterRun:
    tags = {STALLED_TAG: stalled, STALLED_ASSET_TAG: asset}
    return create_run_for_test(instance, tags=tags, status=status)


def test_a_stall_is_reported_once_and_so_is_its_end(instance: dg.DagsterInstance) -> None:
    training(instance, "false", "continued_checkpoint")
    training(instance, "true", "enhanced_checkpoint", dg.DagsterRunStatus.FAILURE)
    run = training(instance, "true")
    evaluations, cursor = tick(instance)
    assert evaluations == [("general_checkpoint", False)]
    evaluations, cursor = tick(instance, cursor)
    assert evaluations == []
    instance.add_run_tags(run.run_id, {STALLED_TAG: "false"})
    evaluations, cursor = tick(instance, cursor)
    assert evaluations == [("general_checkpoint", True)]
    assert tick(instance, cursor)[0] == []


@pytest.mark.parametrize("tag", ["true", "false"])
def test_the_check_of_a_stalled_run_that_is_cancelled_passes_only_after_further_steps(
    instance: dg.DagsterInstance, tag: str
) -> None:
    run = training(instance, "true")
    _, cursor = tick(instance)
    instance.add_run_tags(run.run_id, {STALLED_TAG: tag})
    instance.report_run_canceled(run)
    expected = [("general_checkpoint", True)] if tag == "false" else []
    evaluations, cursor = tick(instance, cursor)
    assert evaluations == expected
    assert tick(instance, cursor)[0] == []


def test_the_check_of_a_run_that_succeeded_is_its_own(instance: dg.DagsterInstance) -> None:
    run = training(instance, "true")
    _, cursor = tick(instance)
    instance.add_run_tags(run.run_id, {STALLED_TAG: "false"})
    instance.handle_new_event(
        EventLogEntry(
            error_info=None,
            user_message="",
            level=10,
            run_id=run.run_id,
            timestamp=0.0,
            dagster_event=DagsterEvent("PIPELINE_SUCCESS", run.job_name),
        )
    )
    assert tick(instance, cursor)[0] == []


def test_a_run_whose_tags_name_no_checkpoint_is_passed_over(
    instance: dg.DagsterInstance,
) -> None:
    create_run_for_test(instance, tags={STALLED_TAG: "true"}, status=dg.DagsterRunStatus.STARTED)
    training(instance, "true")
    assert tick(instance)[0] == [("general_checkpoint", False)]


def test_an_arm_of_an_experiment_has_no_check_of_its_own(instance: dg.DagsterInstance) -> None:
    training(instance, "true", "checkpoint_of_another_recipe")
    assert tick(instance)[0] == []
