"""One whole installation, made by what `make demo` runs, that the tests here look at."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kubernetes.conftest import cluster, namespace

__all__ = ["cluster", "namespace"]

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Installation:
    """A home folder, and how the demo that made it went."""

    home: Path
    printed: str
    seconds: float

    @property
    def lake(self) -> str:
        return str(self.home / "lake")

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def mlflow(self) -> str:
        return f"sqlite:///{self.home / 'mlflow.db'}"


def environment(home: Path, **more: str) -> dict[str, str]:
    """A user's environment, with this home and without what would lead elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNOW_")}
    return {**kept, "SNOW_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), **more}


def run_demo(home: Path, **more: str) -> Installation:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "snow_assets.cli.demo"],
        cwd=CHECKOUT,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return Installation(home=home, printed=done.stdout, seconds=time.monotonic() - started)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The recipe SMOKE from nothing, in a home of its own."""
    return run_demo(tmp_path_factory.mktemp("smoke") / "home")
