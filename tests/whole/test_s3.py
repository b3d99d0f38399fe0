"""The whole recipe with its lake on a real S3 server."""

from pathlib import Path

import pytest

from snow_assets.storage import shards
from snow_resources.warehouse import query
from tests.whole.conftest import run_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_whole_recipe_runs_on_an_object_store(s3_lake_url: str, tmp_path: Path) -> None:
    more = {"SNOW_LAKE": s3_lake_url, "SNOW_RECIPE": "tests.recipes:TINY"}
    run_demo(tmp_path / "home", **more)
    assert not (tmp_path / "home" / "lake").exists()
    pointers = shards.names(shards.join(s3_lake_url, "current", "TINY"))
    assert {"raw_code_corpus", "quality_scores", "synthetic_set", "enhanced_checkpoint"} <= set(
        pointers
    )
    scored = query(
        tmp_path / "home" / "warehouse.duckdb",
        "select count(distinct checkpoint) from checkpoint_scoreboard",
    )
    assert scored.rows == [(3,)]
