"""The evaluation's sandbox in a pod: no lake, no network, the same floor; or nothing runs."""

import base64
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import kubernetes_validate
import pytest

from snow_assets.evaluation.contract import (
    ExecutionReport,
    ExecutionRequest,
    ProblemTest,
    Program,
)
from snow_assets.runtime import worker
from snow_assets.runtime.isolated_worker import check_isolation, format_report, main, read_request
from snow_resources.gpu_jobs import FinishedJob, JobSize
from snow_resources.isolated_jobs import (
    isolated_manifest,
    parse_report,
    request_config_maps,
    resolve_canary,
)
from tests.evaluation.builders import an_evaluation_recipe
from tests.kubernetes.conftest import Site
from tests.kubernetes.policy import faults, work_faults
from tests.kubernetes.test_manifest import a_job, rendered

SIZE = JobSize(cpus=0, memory_gib=1, environment="sandbox")


def a_request(*answers: str) -> ExecutionRequest:
    problem = ProblemTest(
        problem_id="T/0",
        benchmark="T",
        entry_point="f",
        test="assert candidate() == 1\n",
        solution="def f(): return 1\n",
    )
    return ExecutionRequest(
        checkpoint="general",
        artifact="",
        problems=(problem,),
        programs=tuple(Program(problem_id="T/0", source=answer) for answer in answers),
        recipe=an_evaluation_recipe(),
        num_cpus=2,
    )


def execute(site: Site, request: ExecutionRequest, **settings: str) -> FinishedJob[ExecutionReport]:
    found: FinishedJob[ExecutionReport] = site.run(
        "snow_assets.evaluation.execution", request, ExecutionReport, SIZE, **settings
    )
    return found


@pytest.mark.cluster
def test_programs_are_judged_in_a_pod_that_mounts_no_lake(site: Site) -> None:
    right, wrong = "def f(): return 1\n", "def f(): return 2\n"
    steal = f"import pathlib\npathlib.Path('/request/request.json.gz.00000').read_bytes()\n{right}"
    call = f"import socket\nsocket.socket()\n{right}"
    done = execute(site, a_request(right, wrong, steal, call))
    report = done.report
    assert [ran.outcome for ran in report.ran] == ["passed", "failed", "failed", "failed"]
    assert report.isolation.startswith("seccomp+landlock+rlimits")
    assert report.not_run is None
    (job,) = site.api.list("jobs")
    mounted = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert "lake" not in mounted
    (request,) = (one for one in site.api.list("configmaps") if "request.json.gz" in str(one))
    assert request["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


@pytest.fixture
def canary() -> Iterator[str]:
    """Something that is up and that pods reach, since nobody enforces a policy here."""
    server = http.server.HTTPServer(("0.0.0.0", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{os.environ['SNOW_TEST_HOST']}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.cluster
def test_a_pod_that_reaches_the_canary_runs_nothing(site: Site, canary: str) -> None:
    with pytest.raises(AssertionError, match=r"the canary .* answers, so this pod has a network"):
        execute(site, a_request("def f(): return 1\n"), sandbox_canary=canary)


@pytest.mark.cluster
def test_without_a_canary_no_sandbox_starts(site: Site) -> None:
    with pytest.raises(AssertionError, match="sandbox_canary is not set: name a host:port"):
        execute(site, a_request("def f(): return 1\n"), sandbox_canary="")
    assert site.api.list("jobs") == []


@pytest.mark.parametrize(
    "canary",
    [
        "mlflow.snow.svc:5000",
        "no.such.host.invalid:80",
        "localhost:1",
        "",
        ":80",
        "127.0.0.1",
        "::1",
    ],
)
def test_a_pod_whose_canary_is_no_address_runs_nothing(
    canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("no.such.module", canary) == worker.BAD_INPUT
    assert "nothing was run" in capsys.readouterr().err


def test_a_canary_that_listens_is_a_fault_and_one_that_does_not_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert "answers" in str(check_isolation(address))
        assert "answers" in str(check_isolation(f"127.0.0.1:1,{address}"))
    assert check_isolation(address) is None


def test_the_launcher_resolves_a_canary_s_name() -> None:
    assert "127.0.0.1:80" in resolve_canary("localhost:80").split(",")
    assert resolve_canary("10.0.0.1:443") == "10.0.0.1:443"
    assert resolve_canary("[::1]:443") == "[::1]:443"


@pytest.mark.parametrize("canary", ["no.such.host.invalid:80", "10.0.0.1", "", "host:http"])
def test_a_canary_that_does_not_resolve_starts_no_job(canary: str) -> None:
    with pytest.raises(dg.Failure, match=r"sandbox_canary .* cannot be resolved"):
        isolated_manifest(rendered(SIZE), a_job(), python="python", canary=canary)


def test_a_report_crosses_a_log_among_other_lines() -> None:
    report = os.urandom(50_000)
    log = "\n".join(["before", *format_report(report), "after"]).encode()
    assert parse_report(log) == report


@pytest.mark.parametrize(
    "spoil",
    [lambda log: log.replace(b"A", b"B"), lambda log: log[:-100], lambda log: log[100:]],
    ids=["changed", "cut", "begun late"],
)
def test_a_report_that_did_not_cross_whole_is_none(spoil: object) -> None:
    log = "\n".join(format_report(os.urandom(50_000))).encode()
    assert parse_report(spoil(log)) is None  # type: ignore[operator]


def test_an_enclosed_job_is_valid_and_keeps_to_the_policy() -> None:
    job = a_job()
    made = isolated_manifest(rendered(SIZE), job, python="python", canary="10.0.0.1:443")
    kubernetes_validate.validate(made, "1.37", strict=True)
    assert faults(made) == []
    assert work_faults(made) == []
    owner = {"metadata": {"name": "x", "uid": "y"}}
    (config_map,) = request_config_maps(job, owner)
    kubernetes_validate.validate(config_map, "1.37", strict=True)


def test_a_request_that_is_larger_than_a_config_map_crosses_in_numbered_ones(
    tmp_path: Path,
) -> None:
    job = replace(a_job(), request=os.urandom(8_000_000))
    manifest = isolated_manifest(rendered(SIZE), job, python="python", canary="10.0.0.1:443")
    kubernetes_validate.validate(manifest, "1.37", strict=True)
    name = manifest["metadata"]["name"]
    config_maps = request_config_maps(job, {"metadata": {"name": name, "uid": "y"}})
    data = {each["metadata"]["name"]: each["binaryData"] for each in config_maps}
    assert len(data) > 10
    assert max(len(json.dumps(each)) for each in config_maps) < 1 << 20
    volumes = manifest["spec"]["template"]["spec"]["volumes"]
    (volume,) = (each for each in volumes if each["name"] == "request")
    for source in volume["projected"]["sources"]:  # as the kubelet writes them
        (item,) = source["configMap"]["items"]
        content = data[source["configMap"]["name"]][item["key"]]
        (tmp_path / item["path"]).write_bytes(base64.b64decode(content))
    assert read_request(tmp_path) == job.request


def test_a_request_that_no_hundred_config_maps_hold_is_refused() -> None:
    job = replace(a_job(), request=os.urandom(71_000_000))
    with pytest.raises(dg.Failure, match="evaluate fewer problems at once"):
        request_config_maps(job, {"metadata": {"name": "x", "uid": "y"}})
