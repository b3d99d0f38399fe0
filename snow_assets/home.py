"""Home folder of an installation: lake, databases, Dagster's state; default: `.snow`."""

import os
import sys
from pathlib import Path

from snow_assets.home_folder import CHECKOUT, home

__all__ = ["CHECKOUT", "configured_url", "home", "prepare", "warn"]

_DAGSTER_YAML = """\
# Written once by snow_assets/home.py; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false
python_logs:
  managed_python_loggers: [snow]  # what stages say while they work: how much is left
  python_log_level: INFO
run_launcher:
  module: snow_resources.local_runs
  class: LocalRunLauncher
run_monitoring:
  enabled: true  # ends runs whose process was killed, so that the queue does not wait for them
  poll_interval_seconds: 30
  max_resume_run_attempts: 0
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 1  # two cores: the work itself runs in parallel
"""

_INITIALIZED = ".initialized"


def configured_url(configured: str, *, lake: str) -> str:
    """What a recipe names as a URL, a path, `{lake}/...`, or relative to the checkout."""
    url = configured.replace("{lake}", lake.rstrip("/"))
    if "://" in url or Path(url).is_absolute():
        return url
    return str(CHECKOUT / url)


def prepare() -> None:
    """Create the home folder, Dagster's settings and its databases, and set DAGSTER_HOME.

    A lock serializes concurrent processes, since Dagster creates the tables of a new SQLite file
    without one. Idempotent.
    """
    dagster_home = Path(os.environ.setdefault("DAGSTER_HOME", str(home() / "dagster")))
    dagster_home.mkdir(parents=True, exist_ok=True)
    from snow_resources.file_lock import (
        exclusive,  # imported lazily: stage code imports this module
    )

    waiting = "Another process prepares this home; waiting for it"
    with exclusive(dagster_home / ".lock", waiting=waiting, warn=warn):
        settings = dagster_home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(_DAGSTER_YAML)
        if not (dagster_home / _INITIALIZED).exists():
            _create_databases()
            (dagster_home / _INITIALIZED).touch()


def _create_databases() -> None:
    """Open each of Dagster's storages once, which creates its tables."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()
        instance.all_asset_keys()
        instance.all_instigator_state()


def warn(line: str) -> None:
    """Print a line to stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> None:
    """Prepare the home folder, and end the runs whose process was killed; run by `make dev`."""
    prepare()
    import dagster as dg

    from snow_resources.local_runs import end_dead_runs

    with dg.DagsterInstance.get() as instance:
        for run_id in end_dead_runs(instance):
            warn(f"Ended run {run_id}: its process has ended")


if __name__ == "__main__":
    main()
