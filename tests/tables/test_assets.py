"""All tables are built, tested and published together, or none is."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.storage.schemas.curation import DECISION
from snow_assets.tables.assets import _manifest
from snow_resources.warehouse import query
from tests.tables.builders import put_corpus
from tests.tables.conftest import Publication, publication
from tests.tables.lake import TinyLake, provenance, row_of, text_of

PUBLISHES = int(os.environ.get("SNOW_PUBLISHES", "1"))

_READER = """
import sys, time
from pathlib import Path
from snow_resources.warehouse import query
path, stop = sys.argv[1], Path(sys.argv[2])
number = 0
while not stop.exists():
    [(rows,)] = query(path, "select count(*) from document_quality").rows
    assert rows == int(sys.argv[3]), rows
    number += 1
    if number == 1:
        print("reading", flush=True)
    time.sleep(0.01)  # dbt has two cores to work on
print(number)
"""


def names(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        event.materialization.asset_key.to_user_string()
        for event in result.get_asset_materialization_events()
    }


def test_nothing_new_is_not_built_again(whole: Publication) -> None:
    before = Path(whole.warehouse.path).stat()
    result = whole.materialize()
    assert result.success
    assert Path(whole.warehouse.path).stat().st_ino == before.st_ino
    events = result.get_asset_materialization_events()
    assert all(event.materialization.metadata["reused"].value for event in events)
    assert {"document_quality", "checkpoint_sources", "curation_funnel"} <= names(result)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert len(result.get_asset_check_evaluations()) > 40


def test_a_table_shows_its_rows_when_they_are_few(whole: Publication) -> None:
    [event] = [
        event.materialization
        for event in whole.materialize().get_asset_materialization_events()
        if event.materialization.asset_key == dg.AssetKey("synthetic_yield")
    ]
    assert event.metadata["dagster/row_count"].value == 2
    shown = event.metadata["rows"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert [record.data["outcome"] for record in shown.records] == ["accepted", "refused"]


@pytest.mark.slow
def test_tables_are_published_before_the_graph_is_whole(tables_folder: Path) -> None:
    lake = TinyLake(url=str(tables_folder / "young-lake"))
    put_corpus(lake)
    made = publication(tables_folder, "young", lake)
    assert made.materialize().success
    ask = made.warehouse.path
    assert query(ask, "select count(*) from checkpoint_sources").rows == [(0,)]
    undecided = "select count(*) from document_quality where kept is null"
    assert query(ask, undecided).rows == [(5,)]
    pending = "select count(*) from pending_documents where pending = 'decision'"
    assert query(ask, pending).rows == [(5,)]


@pytest.mark.slow
def test_a_failing_test_publishes_nothing_and_shows_in_its_check(
    whole: Publication, tables_folder: Path
) -> None:
    lake = TinyLake(url=str(tables_folder / "wrong-lake"))
    put_corpus(lake)
    unexplained = row_of(
        DECISION,
        **provenance("good"),
        text_id=text_of("good"),
        language="python",
        kept=False,
    )
    tables = {"decisions": (DECISION, [unexplained])}
    lake.put("clean_corpus", tables, partition="python")
    before = Path(whole.warehouse.path).stat()
    result = Publication(lake=lake, warehouse=whole.warehouse).materialize()
    assert not result.success
    assert names(result) == set()
    failed = {
        check.check_name for check in result.get_asset_check_evaluations() if not check.passed
    }
    assert "every_dropped_file_has_a_reason" in failed
    assert Path(whole.warehouse.path).stat().st_ino == before.st_ino


@pytest.mark.slow
def test_no_reader_meets_an_error_while_all_tables_are_published_anew(
    whole: Publication, tmp_path: Path
) -> None:
    path, stop = whole.warehouse.path, tmp_path / "stop"
    [(rows,)] = query(path, "select count(*) from document_quality").rows
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER, path, str(stop), str(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    files = {Path(path).stat().st_ino}
    for _ in range(PUBLISHES):
        # As if other inputs had been published: all is built again.
        (Path(path).parent / "dbt" / "published.json").unlink()
        assert whole.materialize().success
        files.add(Path(path).stat().st_ino)
    stop.touch()
    told, errors = reader.communicate(timeout=60)
    assert reader.returncode == 0, errors
    assert int(told) > PUBLISHES
    assert len(files) > 1


_READS = {"staging": {"sources"}, "intermediate": {"staging", "intermediate"}}
_READS["marts"] = {"staging", "intermediate", "marts"}


def layer_of(unique_id: str) -> str:
    is_source = unique_id.startswith("source.")
    return "sources" if is_source else str(_manifest["nodes"][unique_id]["fqn"][1])


def test_models_read_only_their_own_layer_and_the_layers_before_it() -> None:
    models = [node for node in _manifest["nodes"].values() if node["resource_type"] == "model"]
    read = {
        (model["name"], parent)
        for model in models
        for parent in model["depends_on"]["nodes"]
        if layer_of(parent) not in _READS[layer_of(model["unique_id"])]
    }
    assert read == set()


def test_every_source_table_has_one_staging_model_and_each_has_its_layers_prefix() -> None:
    staging = [name for name in _manifest["nodes"] if name.startswith("model.snow.stg_")]
    read = [name for model in staging for name in _manifest["parent_map"][model]]
    assert sorted(read) == sorted(_manifest["sources"])
    prefixes = {"staging": "stg_", "intermediate": "int_", "marts": ""}
    for model in (node for name, node in _manifest["nodes"].items() if name.startswith("model.")):
        prefix = model["name"][:4] if model["name"][:4] in prefixes.values() else ""
        assert prefix == prefixes[layer_of(model["unique_id"])], model["name"]


def test_every_model_promises_its_columns_and_says_what_they_are() -> None:
    models = [node for node in _manifest["nodes"].values() if node["resource_type"] == "model"]
    tested = {
        parent
        for node in _manifest["nodes"].values()
        if node["resource_type"] == "test"
        for parent in node["depends_on"]["nodes"]
    }
    assert len(models) > 15
    for model in models:
        assert model["config"]["contract"]["enforced"], model["name"]
        assert model["description"], model["name"]
        assert model["unique_id"] in tested, f"{model['name']} has no test"
        for column in model["columns"].values():
            assert column["description"] and column["data_type"], (model["name"], column["name"])
