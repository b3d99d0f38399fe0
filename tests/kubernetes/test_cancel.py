"""A run that is cancelled in the UI: what its button asks for, and what comes of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from snow_assets.home import CHECKOUT
from snow_resources.kubernetes_api import until
from tests.kubernetes.conftest import Site
from tests.kubernetes.work_job import Work

pytestmark = pytest.mark.cluster

_LOCATION = "tests.kubernetes.definitions"
_LAUNCH = """
mutation {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "%s", repositoryName: "__repository__", jobName: "working"}
    runConfigData: {}
  }) { ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
TERMINATE = 'mutation { terminateRun(runId: "%s") { __typename } }'
STATUS = '{ runOrError(runId: "%s") { ... on Run { status } } }'


@pytest.fixture
def webserver(site: Site, tmp_path: Path) -> Iterator[str]:
    """Dagster's webserver over a code location whose one asset is a long job."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}\n"
    )
    request = Work(output=site.output, num_parts=600, part_seconds=1)
    told = json.dumps({"config": site.config(), "request": asdict(request)})
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "dagster_webserver", "-m", _LOCATION, "-p", str(port)],
            cwd=CHECKOUT,
            env={**os.environ, "SITE": told, "DAGSTER_HOME": str(home)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        assert until(lambda: is_up(url), seconds=120), (home / "log").read_text()[-2_000:]
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def is_up(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
    except OSError:
        return False
    return True


def ask(url: str, query: str) -> Any:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def test_a_run_that_is_cancelled_in_the_ui_takes_its_job_along(site: Site, webserver: str) -> None:
    run_id = ask(webserver, _LAUNCH % _LOCATION)["launchRun"]["run"]["runId"]
    site.wait_for(lambda: site.count("parts") >= 2)
    assert ask(webserver, TERMINATE % run_id) == {
        "terminateRun": {"__typename": "TerminateRunSuccess"}
    }
    site.wait_for(lambda: site.api.list("jobs") == [])
    site.wait_for(lambda: ask(webserver, STATUS % run_id)["runOrError"]["status"] == "CANCELED")
    assert site.api.list("pods") == []
    assert site.count("starts") == 1
