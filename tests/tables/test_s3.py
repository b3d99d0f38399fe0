"""Tables of a lake in an object store: read by fsspec without a DuckDB extension, put beside it."""

from pathlib import Path

import pytest

from snow_assets.storage import shards
from snow_resources.table_versions import fetch_current, folder_of
from snow_resources.warehouse import query
from tests.tables.builders import RECIPE, a_whole_lake
from tests.tables.conftest import publication


@pytest.mark.slow
def test_a_lake_in_an_object_store_is_published_like_a_local_one(
    tables_folder: Path, s3_lake_url: str
) -> None:
    made = publication(tables_folder, "remote", a_whole_lake(s3_lake_url))
    assert made.materialize().success
    sql = (
        "select sum(num_tokens)::int from checkpoint_sources "
        "where checkpoint = 'enhanced_checkpoint'"
    )
    assert query(made.warehouse.path, sql).rows == [(330,)]
    shared = folder_of(s3_lake_url, RECIPE)
    assert query(fetch_current(shared, tables_folder / "fetched"), sql).rows == [(330,)]
    # Where the store lost it, tables that are up to date here are put again.
    shards.remove(shared)
    assert made.materialize().success
    assert query(fetch_current(shared, tables_folder / "fetched-again"), sql).rows == [(330,)]
