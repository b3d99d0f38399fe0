"""The home of an installation: made by several processes at once, held by one demo."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snow_assets import home
from snow_resources.file_lock import exclusive

START = """
import dagster as dg
from snow_assets.home import prepare

prepare()
with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("source", ["stdlib"])
    dg.materialize([dg.asset(lambda: 1, name="one")], instance=instance)
"""


def environment(path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNOW_")}
    return {**kept, "SNOW_HOME": str(path), "DAGSTER_HOME": str(path / "dagster")}


def test_four_processes_may_start_on_a_home_that_does_not_exist_yet(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", START],
            env=environment(tmp_path / "new"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors


def test_settings_of_a_person_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    settings = tmp_path / "dagster" / "dagster.yaml"
    settings.parent.mkdir()
    content = "telemetry: {enabled: false}\n"
    settings.write_text(content)
    home.prepare()
    assert settings.read_text() == content


def test_who_waits_for_a_lock_says_for_which_process(tmp_path: Path) -> None:
    lock = tmp_path / "demo.lock"
    program = (
        "import pathlib\n"
        "from snow_resources.file_lock import exclusive\n"
        f"with exclusive(pathlib.Path({str(lock)!r}), waiting='Waiting', warn=print):\n"
        "    print('entered')\n"
    )
    with exclusive(lock, waiting="", warn=pytest.fail):
        waiting = subprocess.Popen(
            [sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout is not None
        assert f"process {os.getpid()} since" in waiting.stdout.readline()
        assert waiting.poll() is None
    assert waiting.stdout.read().strip() == "entered"
    assert waiting.wait() == 0
