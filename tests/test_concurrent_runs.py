"""Two processes that materialize one source of 400 repositories at once, in a home that stands."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient

from snow_assets.storage import shards
from tests.corpus.builders import a_repository
from tests.curation.builders import a_program
from tests.quality.builders import an_encoder

CHECKOUT = Path(__file__).resolve().parents[1]
ASSETS = ("raw_code_corpus", "documents", "signatures")
MATERIALIZE = """
import sys
import dagster as dg
from snow_assets import definitions
from snow_assets.home import prepare

prepare()
assets, partition = sys.argv[1].split(","), sys.argv[2] if len(sys.argv) > 2 else None
job = definitions.defs.resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.get() as instance:
    job.execute_in_process(
        instance=instance, partition_key=partition,
        asset_selection=[dg.AssetKey(name) for name in assets],
    )
"""


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", MATERIALIZE, *arguments]
    return subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.timeout(600)
def test_both_end_well_with_one_artifact_and_a_record_of_each_repository(tmp_path: Path) -> None:
    code, home = tmp_path / "code", tmp_path / "home"
    for number in range(400):
        name = f"r{number:03d}"
        a_repository(code / "amber" / name, {"a.py": a_program(name, functions=3)})
    an_encoder(code / "encoder")
    (code / "opt_outs.txt").write_text("# nobody yet\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SNOW_")},
        "SNOW_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "SNOW_TEST_CODE": str(code),
        "SNOW_RECIPE": "tests.automation.recipes:ONE",
    }
    first = start(environment, "opt_outs")
    assert first.wait() == 0, first.communicate()

    both = [start(environment, ",".join(ASSETS), "amber") for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors

    lake = str(home / "lake")
    for asset in ASSETS:
        artifacts = list(Path(lake, asset, "amber").glob("*/manifest.json"))
        assert len(artifacts) == 1, asset
    current = json.loads(shards.get(f"{lake}/current/FLOW/raw_code_corpus/amber.json"))
    rows = shards.read(
        f"{lake}/raw_code_corpus/amber/{current['fingerprint']}", "files"
    ).to_pylist()
    assert len({row["repository"] for row in rows}) == len(rows) == 400

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.`dagster.asset_key` = 'raw_code_corpus'")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.metrics["num_files"] for run in runs} == {400.0}
