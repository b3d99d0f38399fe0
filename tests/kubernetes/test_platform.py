"""The platform in a cluster: a run from the UI's button to a Job's report, and its end."""

from collections.abc import Iterator
from typing import Any

import pytest

from snow_assets.storage import shards
from snow_resources.kubernetes_api import until
from tests.kubernetes.platform import Platform, a_platform
from tests.kubernetes.policy import faults
from tests.kubernetes.test_cancel import TERMINATE, ask
from tests.postgres import serving

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def platform(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    with serving() as port, a_platform(folder, postgres_port=port) as up:
        yield up


def launched(platform: Platform, job: str) -> str:
    answers: list[Any] = []

    def is_known() -> bool:  # a webserver that was up before the code location looks again
        answers.append(platform.launch(job))
        return bool(answers[-1]["__typename"] != "PipelineNotFoundError")

    until(is_known, seconds=180, every=2)
    assert answers[-1]["__typename"] == "LaunchRunSuccess", answers[-1]
    return str(answers[-1]["run"]["runId"])


def run_pods(platform: Platform) -> list[dict[str, Any]]:
    return [
        pod
        for pod in platform.objects("pods", "snow")
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "run_worker"
    ]


def test_a_run_of_the_launcher_materializes_a_cpu_asset_and_a_job_asset(
    platform: Platform,
) -> None:
    run_id = launched(platform, "first")
    until(lambda: platform.status(run_id) in ("SUCCESS", "FAILURE"), seconds=300, every=2)
    assert platform.status(run_id) == "SUCCESS", platform.log(run_id)
    (job,) = platform.objects("jobs", "snow-jobs")
    assert job["metadata"]["labels"]["snow/asset"] == "worked"
    assert [one["type"] for one in job["status"]["conditions"]] == ["Complete"]
    (pod,) = run_pods(platform)
    hosts = [one["name"] for one in pod["spec"]["volumes"] if "hostPath" in one]
    pod["spec"].pop("hostAliases")  # this cluster has no DNS
    assert faults(pod, may_mount=frozenset(hosts)) == []
    assert pod["spec"]["serviceAccountName"] == "snow-run"
    assert "It waits in" not in platform.log(run_id)  # MLflow took the record


def test_a_run_that_is_terminated_ends_cancelled_with_its_job_and_pods(platform: Platform) -> None:
    run_id = launched(platform, "endless")
    parts = shards.join(str(platform.lake), "working", "parts")
    assert until(lambda: len(shards.names(parts)) >= 2, seconds=300, every=1), platform.log(run_id)
    answer = ask(platform.url, TERMINATE % run_id)
    assert answer == {"terminateRun": {"__typename": "TerminateRunSuccess"}}
    assert until(lambda: platform.status(run_id) == "CANCELED", seconds=300, every=2)
    jobs = [
        one["metadata"]["labels"]["snow/asset"] for one in platform.objects("jobs", "snow-jobs")
    ]
    assert "working" not in jobs
    assert until(lambda: not _live(platform), seconds=60)
    assert "deleted" in platform.log(run_id) or "cancelled" in platform.log(run_id)


def _live(platform: Platform) -> list[str]:
    pods = [*run_pods(platform), *platform.objects("pods", "snow-jobs")]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod["status"]["phase"] not in ("Succeeded", "Failed")
    ]


def test_the_viewer_shows_and_starts_nothing(platform: Platform) -> None:
    query = "{ instance { runLauncher { name } } repositoriesOrError { __typename } }"
    assert ask(platform.viewer_url, query) == {
        "instance": {"runLauncher": {"name": "K8sRunLauncher"}},
        "repositoriesOrError": {"__typename": "RepositoryConnection"},
    }
    assert platform.launch("first", url=platform.viewer_url)["__typename"] == "UnauthorizedError"
