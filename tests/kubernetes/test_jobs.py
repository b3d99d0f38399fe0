"""Jobs in a real cluster: done, adopted, resumed, explained."""

import json
from pathlib import Path

import pytest

from snow_resources.gpu_jobs import JobSize
from tests.kubernetes.conftest import Site, claims_of, failure, metadata, run_worker
from tests.kubernetes.work_job import Work

pytestmark = pytest.mark.cluster


def test_a_job_answers_with_its_report_and_shows_what_it_took(site: Site) -> None:
    size = JobSize(cpus=1, memory_gib=1)
    shown = metadata(
        site.launch(Work(output=site.output, num_parts=3), size=size, cpu_hour_price=3_600.0)
    )
    assert (shown["starts"], shown["made"]) == (1, 3)
    assert shown["work_job_job"].startswith("worked-all-")
    assert shown["work_job_attempts"] == 1
    assert shown["work_job_queue_seconds"] >= 0
    assert shown["work_job_run_seconds"] > 0
    assert shown["work_job_cost"] == shown["work_job_run_seconds"]
    folder = Path(shown["folder"].removeprefix("file://"))
    assert {"request.json", "report.json", "log.txt", "events.json", "ended.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert "Started" in {one["reason"] for one in json.loads((folder / "events.json").read_text())}


def test_what_a_pod_says_is_in_the_runs_log(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    metadata(site.launch(Work(output=site.output, num_parts=2)))
    told = capfd.readouterr().err
    assert "part 0 of 2" in told
    assert "part 1 of 2" in told


def test_a_finished_job_is_never_run_again(site: Site) -> None:
    request = Work(output=site.output)
    metadata(site.launch(request))
    metadata(site.launch(request))
    assert site.count("starts") == 1
    assert len(site.api.list("jobs")) == 1


def test_a_pod_that_is_deleted_mid_work_resumes(site: Site) -> None:
    launched = site.launch_aside(site.gated(num_parts=6, after=3))
    site.wait_for(lambda: site.count("parts") == 3)
    deleted = site.running_pod()["metadata"]["name"]
    site.api.delete("pods", deleted)
    site.wait_for(lambda: site.count("starts") >= 2)
    # Its successor starts at once; the gate is for that one.
    site.wait_for(lambda: site.api.get("pods", deleted) is None)
    site.open_gate()
    assert 1 <= metadata(launched.result())["made"] <= 3
    assert site.count("parts") == 6
    assert site.count("made") <= 7  # at most one shard is made again


def test_a_container_without_enough_memory_is_told_so_and_not_tried_again(site: Site) -> None:
    told = failure(site.launch(Work(output=site.output, hog_mib=2_000)))
    assert "OOMKilled" in told
    assert "1Gi of memory: raise it" in told
    assert site.count("starts") == 1


def test_bad_input_is_not_tried_again(site: Site) -> None:
    told = failure(site.launch(Work(output=site.output, exit_code=42)))
    assert "exit code 42: bad input" in told
    assert "about to end with 42" in told
    assert site.count("starts") == 1


def test_a_passing_fault_is_followed_by_the_next_attempt(site: Site) -> None:
    shown = metadata(site.launch(Work(output=site.output, exit_code=75, exits=1)))
    assert (shown["attempt"], shown["starts"]) == (2, 2)


def test_a_failed_job_does_not_block_its_retry(site: Site) -> None:
    request = Work(output=site.output, exit_code=7, exits=1)
    assert "exit code 7" in failure(site.launch(request))
    shown = metadata(site.launch(request))
    assert (shown["attempt"], shown["starts"]) == (2, 2)


def test_an_image_that_cannot_be_pulled_is_named(site: Site) -> None:
    images = {"trainer": "nowhere.invalid/none:1"}
    told = failure(site.launch(Work(output=site.output), images=images, start_seconds=8))
    assert "starting for more than its limit of 8 s" in told
    assert "nowhere.invalid/none:1" in told


def test_a_silent_pod_is_ended_at_its_time_limit(site: Site) -> None:
    told = failure(site.launch(Work(output=site.output, part_seconds=600), run_seconds=5))
    assert "passed its time limit" in told


def test_work_without_a_node_waits_and_says_why(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    told = failure(
        site.launch(
            Work(output=site.output),
            size=JobSize(gpus=99, processes=99, cpus=0, memory_gib=1),
            queue_seconds=3,
        )
    )
    assert "queued for more than its limit of 3 s: unschedulable" in told
    assert "queued: unschedulable: 0/1 nodes are available" in capfd.readouterr().err


def test_two_runs_that_ask_for_the_same_work_share_one_job(site: Site, tmp_path: Path) -> None:
    request = site.gated(num_parts=4, after=2)
    # Databases of their own: they meet in the cluster.
    runs = [run_worker(site, request, tmp_path / name) for name in ("one", "other")]
    site.wait_for(lambda: len(claims_of(site)) == 2)
    site.open_gate()
    assert [run.wait(180) for run in runs] == [0, 0]
    assert len(site.api.list("jobs")) == 1
    assert site.count("starts") == 1


def test_pods_share_work_and_each_report_is_collected_once(site: Site) -> None:
    """Eight shards, three at a time; one of them fails twice."""
    request = Work(
        output=site.output, num_parts=24, part_seconds=0.2, exit_code=75, exits=2, exiting_part=10
    )
    size = JobSize(cpus=0, memory_gib=1, parts=24)
    shown = metadata(
        site.launch(request, size=size, shards={"work_job": 8}, parallelism={"work_job": 3})
    )
    assert (shown["reports"], shown["attempt"]) == (8, 1)
    assert site.count("made") == 24
    assert site.count("starts") == 10
    (job,) = site.api.list("jobs")
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (8, 3)
    again = metadata(site.launch(request, size=size))
    assert again["reports"] == 8
    assert site.count("starts") == 10


def test_bad_input_of_one_shard_ends_them_all(site: Site) -> None:
    request = Work(
        output=site.output, num_parts=40, part_seconds=1, exit_code=42, exits=9, exiting_part=1
    )
    size = JobSize(cpus=0, memory_gib=1, parts=40)
    told = failure(
        site.launch(request, size=size, shards={"work_job": 4}, parallelism={"work_job": 4})
    )
    assert "exit code 42: bad input" in told
    assert site.count("exits") == 1
