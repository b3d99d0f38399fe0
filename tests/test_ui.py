"""`make dev` serves two pages, and ends both however it is stopped."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from snow_assets.cli.ui import port_violation

pytestmark = pytest.mark.timeout(120)

_PROGRAM = """
import sys
from snow_assets.cli.ui import serve
wait = "import os, time; os.write(1, b'%d%c' % (os.getpid(), 10)); time.sleep(60)"
sys.exit(serve([[sys.executable, "-c", wait]] * 2))
"""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("deadly", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_servers(tmp_path: Path, deadly: signal.Signals) -> None:
    environment = {**os.environ, "SNOW_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(supervisor.stdout.readline()) for _ in range(2)]
        supervisor.send_signal(deadly)
        assert supervisor.wait(120) == 128 + deadly
    assert not any(_is_alive(pid) for pid in pids)


def test_one_servers_end_ends_the_other(tmp_path: Path) -> None:
    environment = {**os.environ, "SNOW_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(supervisor.stdout.readline()) for _ in range(2)]
        os.kill(min(pids), signal.SIGKILL)  # the first one
        assert supervisor.wait(120) != 0
    assert not any(_is_alive(pid) for pid in pids)


def test_ports_that_cannot_be_served_are_refused_before_anything_starts() -> None:
    with socket.socket() as taken, socket.socket() as spare:
        for probe in (taken, spare):
            probe.bind(("127.0.0.1", 0))
        taken.listen()
        port, free = taken.getsockname()[1], spare.getsockname()[1]
        spare.close()
        assert f"port {port} is in use" in str(port_violation([port, free]))
        assert "both" in str(port_violation([free, free]))
        assert "from 1 to 65535" in str(port_violation([80_000, free]))
        assert port_violation([free, port]) is None  # MLflow is left out, with a line
        assert port_violation([port]) is None
