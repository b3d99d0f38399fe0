"""vLLM's OpenAI-compatible server for tests, from its own environment."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.home import CHECKOUT

PYTHON = Path(os.environ.get("SNOW_VLLM_PYTHON", CHECKOUT / ".venv-vllm" / "bin" / "python"))
START_SECONDS = 400


@contextlib.contextmanager
def served(model: str, log: Path, *options: str) -> Iterator[str]:
    """The address of a server that answers for `snow`; it and its engine are gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "0",
    }
    command = [
        str(PYTHON),
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        model,
        "--served-model-name",
        "snow",
        "--enforce-eager",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *options,
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, server, log)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-4_000:]
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1)
    raise AssertionError(f"no answer in {START_SECONDS} s: {log.read_text()[-4_000:]}")


def complete(url: str, **request: Any) -> dict[str, Any]:
    body = json.dumps({"model": "snow", "temperature": 0, **request}).encode()
    asked = urllib.request.Request(
        f"{url}/v1/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def require_vllm() -> None:
    """Skip where vLLM's environment is missing; fail where it must be there."""
    if not PYTHON.exists():
        assert not os.environ.get("REQUIRE_VLLM"), f"REQUIRE_VLLM is set, and {PYTHON} is missing"
        pytest.skip(f"vLLM's environment is missing: no {PYTHON}")
