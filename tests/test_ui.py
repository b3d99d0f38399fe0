"""`make dev` serves two pages, and ends both however it is stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

_PROGRAM = """
import sys
from snow_assets.ui import serve
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
        assert supervisor.wait(30) == 128 + deadly
    assert not any(_is_alive(pid) for pid in pids)


def test_one_servers_end_ends_the_other(tmp_path: Path) -> None:
    environment = {**os.environ, "SNOW_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(supervisor.stdout.readline()) for _ in range(2)]
        os.kill(min(pids), signal.SIGKILL)  # the first one
        assert supervisor.wait(30) != 0
    assert not any(_is_alive(pid) for pid in pids)
