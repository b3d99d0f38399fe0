"""The folder of one installation: lake, databases, Dagster's state; `.snow` of the checkout."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

_DAGSTER_YAML = """\
# Written once by snow_assets/home.py; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 1  # two cores: the work itself runs in parallel
  pools:
    default_limit: 1
"""


def home() -> Path:
    """`SNOW_HOME`, or `.snow` in the checkout."""
    return Path(os.environ.get("SNOW_HOME", CHECKOUT / ".snow"))


def prepare() -> None:
    """Make the folder and Dagster's settings, and say where they are; done twice does no harm."""
    dagster_home = Path(os.environ.setdefault("DAGSTER_HOME", str(home() / "dagster")))
    dagster_home.mkdir(parents=True, exist_ok=True)
    settings = dagster_home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_DAGSTER_YAML)


if __name__ == "__main__":
    prepare()
