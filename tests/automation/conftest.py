"""A home that does not exist yet, two folders of repositories, and a process that ticks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snow_assets.storage import shards
from tests.corpus.builders import a_repository
from tests.curation.builders import a_program
from tests.quality.builders import an_encoder

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class World:
    """What a person has: code, an opt-out list, a home."""

    code: Path
    home: Path

    @property
    def lake(self) -> str:
        return str(self.home / "lake")

    def environment(self, recipe: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SNOW_")}
        return {
            **kept,
            "SNOW_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "SNOW_MLFLOW": "",
            "SNOW_TEST_CODE": str(self.code),
            "SNOW_RECIPE": f"tests.automation.recipes:{recipe}",
        }

    def ticks(self, recipe: str, *materialized_by_hand: str) -> list[dict[str, Any]]:
        """Tick the sensor of a code location loaded with a recipe until nothing starts."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.automation.ticks", *materialized_by_hand],
            cwd=CHECKOUT,
            env=self.environment(recipe),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return told

    def current(self, asset: str, partition: str = "all") -> str:
        """The folder of the artifact that the recipe's pointer names."""
        pointer = json.loads(shards.get(f"{self.lake}/current/FLOW/{asset}/{partition}.json"))
        return f"{self.lake}/{asset}/{partition}/{pointer['fingerprint']}"

    def digest(self, asset: str, partition: str = "all") -> str:
        return shards.manifest(self.current(asset, partition)).digest


def repositories(folder: Path, names: list[str]) -> None:
    for name in names:
        files = {f"{n}.py": a_program(f"{name}{n}", functions=2 + n) for n in range(4)}
        a_repository(folder / name, files)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("automation")
    code = root / "code"
    repositories(code / "amber", [f"amber-{n}" for n in range(12)])
    repositories(code / "birch", [f"birch-{n}" for n in range(3)])
    an_encoder(code / "encoder")
    (code / "opt_outs.txt").write_text("# nobody yet\n")
    yield World(code, root / "home")
