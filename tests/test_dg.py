"""`dg` finds the project by pyproject.toml alone, as `dagster dev` does."""

import json
import os
import subprocess
import sys
from pathlib import Path

from snow_assets.defs.graph import STAGES
from snow_assets.home import CHECKOUT


def dg(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run dg in the checkout, with a home of its own."""
    environment = {**os.environ, "SNOW_HOME": str(home), "HOME": str(home)}
    environment["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    environment.pop("DAGSTER_HOME", None)
    return subprocess.run(
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_dg_check_defs_succeeds(tmp_path: Path) -> None:
    done = dg(tmp_path, "check", "defs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All definitions loaded successfully" in done.stdout + done.stderr


def test_dg_list_defs_shows_every_stage_with_its_group_kinds_and_owners(tmp_path: Path) -> None:
    done = dg(tmp_path, "list", "defs", "--json")
    assert done.returncode == 0, done.stderr
    listed = {asset["asset_key"]: asset for asset in json.loads(done.stdout)["assets"]}
    assert {stage.name for stage in STAGES} <= listed.keys()
    for stage in STAGES:
        asset = listed[stage.name]
        assert asset["group_name"] and asset["kinds"] and asset["owners"], stage.name
