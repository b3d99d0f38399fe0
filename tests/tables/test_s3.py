"""Tables of a lake in an object store, read by fsspec: no DuckDB extension is downloaded."""

from pathlib import Path

import pytest

from snow_resources.warehouse import query
from tests.tables.builders import a_whole_lake
from tests.tables.conftest import publication


@pytest.mark.slow
def test_a_lake_in_an_object_store_is_published_like_a_local_one(
    tables_folder: Path, s3_lake_url: str
) -> None:
    made = publication(tables_folder, "remote", a_whole_lake(s3_lake_url))
    assert made.materialize().success
    assert query(
        made.warehouse.path,
        "select sum(num_tokens)::int from checkpoint_sources "
        "where checkpoint = 'enhanced_checkpoint'",
    ).rows == [(330,)]
