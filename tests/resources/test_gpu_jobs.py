"""GPU jobs, the local way: real subprocesses of a real module."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.runtime import worker
from snow_resources.gpu_jobs import GpuJobs, JobSize
from snow_resources.local_jobs import LocalJobs
from tests.resources.echo_job import Echo, Echoed


def launch(
    tmp_path: Path,
    request: Echo,
    *,
    vllm_python: str = "",
    unaddressed_fields: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Materialize one asset that runs the job, and return its metadata; raise what it raises."""
    environment = "vllm" if vllm_python else "trainer"

    @dg.asset
    def echo(context: dg.AssetExecutionContext, jobs: GpuJobs) -> dg.MaterializeResult[Any]:
        done = jobs.run(
            context,
            "tests.resources.echo_job",
            request,
            report=Echoed,
            code_version="1",
            size=JobSize(environment=environment),
            unaddressed_fields=unaddressed_fields,
        )
        return dg.MaterializeResult(
            metadata={
                "word": done.report.word,
                "starts": done.report.starts,
                "folder": done.folder,
                "attempt": done.attempt,
                "seconds": done.seconds,
            }
        )

    jobs = LocalJobs(url=str(tmp_path / "jobs"), vllm_python=vllm_python)
    result = dg.materialize([echo], resources={"jobs": jobs})
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_job_answers_with_its_report_and_metrics(tmp_path: Path) -> None:
    done = launch(tmp_path, Echo(word="hello", marker=str(tmp_path / "starts")))
    assert done["word"] == "hello"
    steps = [(entry["step"], entry["loss"]) for entry in worker.read_metrics(done["folder"])]
    assert steps == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_a_finished_job_is_never_run_again(tmp_path: Path) -> None:
    request = Echo(word="hello", marker=str(tmp_path / "starts"))
    launch(tmp_path, request)
    assert launch(tmp_path, request)["starts"] == 1
    assert Path(request.marker).read_text() == "started\n"


def test_another_request_is_another_job(tmp_path: Path) -> None:
    launch(tmp_path, Echo(word="hello", marker=str(tmp_path / "starts")))
    done = launch(tmp_path, Echo(word="bye", marker=str(tmp_path / "starts")))
    assert (done["word"], done["starts"]) == ("bye", 2)


def test_requests_that_differ_in_unaddressed_fields_alone_are_one_job(tmp_path: Path) -> None:
    request = Echo(word="hello", marker=str(tmp_path / "starts"))
    first = launch(tmp_path, request, unaddressed_fields=("word",))
    other = launch(tmp_path, replace(request, word="bye"), unaddressed_fields=("word",))
    assert (other["folder"], other["starts"]) == (first["folder"], 1)


def test_a_killed_job_is_a_failure_that_says_so_and_its_next_attempt_succeeds(
    tmp_path: Path,
) -> None:
    request = Echo(word="hello", behaviour="die once", marker=str(tmp_path / "starts"))
    with pytest.raises(dg.Failure, match="killed from outside"):
        launch(tmp_path, request)
    done = launch(tmp_path, request)
    assert (done["starts"], done["attempt"]) == (2, 2)


def test_bad_input_is_told_apart_and_not_to_be_retried(tmp_path: Path) -> None:
    request = Echo(word="no", behaviour="refuse", marker=str(tmp_path / "starts"))
    with pytest.raises(dg.Failure, match="exit code 42: bad input") as caught:
        launch(tmp_path, request)
    assert caught.value.allow_retries is False


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    request = Echo(word="hello", marker=str(tmp_path / "starts"))
    with pytest.raises(dg.Failure, match="no /nowhere/python"):
        launch(tmp_path, request, vllm_python="/nowhere/python")


@pytest.mark.parametrize("content", [b"", b"{", b'{"word": 3}', b"\xff\xfe"])
def test_a_damaged_report_is_set_aside_and_the_job_runs_again(
    tmp_path: Path, content: bytes
) -> None:
    request = Echo(word="hello", marker=str(tmp_path / "starts"))
    folder = Path(launch(tmp_path, request)["folder"].removeprefix("file://"))
    (folder / "report.json").write_bytes(content)
    done = launch(tmp_path, request)
    assert (done["word"], done["starts"], done["attempt"]) == ("hello", 2, 2)
    assert (folder / "report.json.damaged").read_bytes() == content


def test_a_damaged_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    done = launch(tmp_path, Echo(word="hello", marker=str(tmp_path / "starts")))
    [metrics] = Path(done["folder"].removeprefix("file://")).glob("metrics-*")
    metrics.write_bytes(metrics.read_bytes().replace(b'"step": 1,', b'"step": ",', 1))
    assert [entry["step"] for entry in worker.read_metrics(done["folder"])] == [0, 2]
