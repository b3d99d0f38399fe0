"""Which of the lake's files the tables are made from, and how DuckDB sees them."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import SEEN
from snow_assets.storage.schemas.quality import SCORE
from snow_assets.tables.sources import LakeTables, lake_tables
from snow_resources.publishing import RecipeFiles, Relation, write_catalog
from tests.tables.builders import a_whole_lake, put_checkpoints, put_corpus, seen
from tests.tables.lake import TinyLake, row_of


def tables_of(lake: TinyLake, *, project: str = "as it is") -> LakeTables:
    return lake_tables(lake.url, lake.current(), recipe=lake.recipe, project=project)


def relation(made: LakeTables, source: str, table: str) -> Relation:
    [found] = [one for one in made.relations if (one.source, one.table) == (source, table)]
    return found


def files(relation: Relation) -> list[str]:
    return sorted({url for part in relation.parts for url in part.files})


def current_artifacts(relation: Relation) -> set[str]:
    return {url.split("/")[-2] for part in relation.parts if part.is_current for url in part.files}


def test_scores_of_every_artifact_are_read_and_others_only_of_the_current(lake_url: str) -> None:
    lake = a_whole_lake(lake_url)
    put_corpus(TinyLake(url=lake_url))  # the same content again: nothing new
    made = tables_of(lake)
    scores = relation(made, "quality_scores", "scores")
    assert [url.split("/")[-2] for url in files(scores)] == ["1", "2"]
    assert current_artifacts(scores) == {"2"}


def test_a_checkpoint_keeps_its_parent_when_that_is_current_no_longer(lake_url: str) -> None:
    lake = a_whole_lake(lake_url)
    rows = [seen("good", num_tokens=70)]
    lake.put("general_checkpoint", {"seen": (SEEN, rows)}, fingerprint="2")
    checkpoints = relation(tables_of(lake), "checkpoints", "seen")
    folders = [url.rsplit("/", 1)[0].removeprefix(f"{lake_url}/") for url in files(checkpoints)]
    assert folders == [
        "continued_checkpoint/all/1",
        "enhanced_checkpoint/all/1",
        "general_checkpoint/all/1",
        "general_checkpoint/all/2",
    ]
    former = [part.files for part in checkpoints.parts if not part.is_current]
    assert former == [(f"{lake_url}/general_checkpoint/all/1/seen-00000.parquet",)]


def test_equal_inputs_have_equal_digests_and_a_new_input_another(lake_url: str) -> None:
    lake = a_whole_lake(lake_url)
    before = tables_of(lake).digest
    assert tables_of(lake).digest == before
    assert tables_of(lake, project="edited").digest != before
    rows = [seen("good", num_tokens=70)]
    lake.put("general_checkpoint", {"seen": (SEEN, rows)}, fingerprint="2")
    assert tables_of(lake).digest != before


def test_manifests_tell_artifacts_and_what_they_were_made_from(lake_url: str) -> None:
    lake = TinyLake(url=lake_url)
    put_checkpoints(lake)
    inputs = tables_of(lake).manifests["inputs"].to_pylist()
    assert {(row["asset"], row["input_asset"]) for row in inputs} == {
        ("continued_checkpoint", "general_checkpoint"),
        ("enhanced_checkpoint", "continued_checkpoint"),
    }


def catalog(folder: Path, *relations: Relation) -> duckdb.DuckDBPyConnection:
    path = folder / "catalog.duckdb"
    write_catalog(path, relations, {})
    return duckdb.connect(str(path), read_only=True)


@pytest.mark.parametrize("source", ["clean_corpus", "documents", "checkpoints"])
def test_a_table_that_is_not_there_yet_is_empty_and_typed(
    tmp_path: Path, lake_url: str, source: str
) -> None:
    empty = [one for one in tables_of(TinyLake(url=lake_url)).relations if one.source == source]
    with catalog(tmp_path, *empty) as connection:
        for one in empty:
            found = connection.sql(f"select * from {source}.{one.table}")
            described = ["asset", "partition", "fingerprint", "is_current"]
            assert found.columns == ["recipe", *one.schema.names, *described]
            assert found.fetchall() == []
            assert connection.sql(
                "select * exclude (recipe, asset, partition, fingerprint, is_current)"
                f" from {source}.{one.table}"
            ).to_arrow_table().schema.types == [column.type for column in one.schema]


def test_rows_know_their_partition_and_whether_they_are_current(tmp_path: Path) -> None:
    lake = TinyLake(url=str(tmp_path / 'it\'s a "lake"'))
    rows = [row_of(SCORE, logit=0.25)]
    for fingerprint in ("1", "2"):
        tables = {"scores": (SCORE, rows)}
        lake.put("quality_scores", tables, partition="c's", fingerprint=fingerprint)
    with catalog(tmp_path, relation(tables_of(lake), "quality_scores", "scores")) as connection:
        assert connection.sql(
            "select partition, fingerprint, is_current, logit from quality_scores.scores order by 2"
        ).fetchall() == [("c's", "1", False, 0.25), ("c's", "2", True, 0.25)]


def test_a_file_of_older_code_that_lacks_a_column_has_nulls(tmp_path: Path) -> None:
    older = pa.schema([field for field in SCORE if field.name != "bottom_logit"])
    folder = str(tmp_path / "lake" / "quality_scores" / "c" / "1")
    shards.put_table(folder, "scores", 0, [row_of(older)], older)
    file = f"{folder}/scores-00000.parquet"
    one = Relation("quality_scores", "scores", SCORE, (RecipeFiles("TINY", True, (file,)),))
    with catalog(tmp_path, one) as connection:
        found = connection.sql("select bottom_logit, num_windows from quality_scores.scores")
        assert found.fetchall() == [(None, 1)]


def test_a_thousand_files_are_one_table(tmp_path: Path) -> None:
    folder = str(tmp_path / "lake" / "quality_scores" / "c" / "1")
    shards.put_table(folder, "scores", 0, [row_of(SCORE)], SCORE)
    content = shards.get(f"{folder}/scores-00000.parquet")
    files = [f"{folder}/scores-{index:05d}.parquet" for index in range(1_000)]
    for file in files:
        Path(file).write_bytes(content)
    part = RecipeFiles("TINY", True, tuple(files))
    one = Relation("quality_scores", "scores", SCORE, (part,))
    with catalog(tmp_path, one) as connection:
        [(number,)] = connection.sql("select count(*) from quality_scores.scores").fetchall()
    assert number == 1_000


def test_stats_of_artifacts_are_json(lake_url: str) -> None:
    lake = TinyLake(url=lake_url)
    lake.put("tokenizer", {}, stats={"vocabulary": 4_096})
    [row] = tables_of(lake).manifests["artifacts"].to_pylist()
    assert json.loads(row["stats"]) == {"vocabulary": 4_096}


def test_every_recipe_with_pointers_is_read_and_shared_files_once_for_each(lake_url: str) -> None:
    put_corpus(TinyLake(url=lake_url))
    second = TinyLake(url=lake_url, recipe="SECOND")
    put_corpus(second)
    files = relation(tables_of(second), "raw_code_corpus", "files")
    assert [part.recipe for part in files.parts] == ["SECOND", "TINY"]
    assert len({part.files for part in files.parts}) == 1
    publication = tables_of(second).manifests["publication"].to_pylist()
    assert {row["recipe"] for row in publication} == {"SECOND", "TINY"}


def test_the_digest_does_not_depend_on_which_recipe_publishes(lake_url: str) -> None:
    first, second = TinyLake(url=lake_url), TinyLake(url=lake_url, recipe="SECOND")
    put_corpus(first)
    before = tables_of(first).digest
    put_corpus(second)
    assert tables_of(first).digest == tables_of(second).digest != before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"fingerprint": '])
def test_a_damaged_pointer_of_another_recipe_is_named(lake_url: str, content: bytes) -> None:
    first = TinyLake(url=lake_url)
    put_corpus(first)
    shards.put(f"{lake_url}/current/SECOND/documents/web.json", content)
    with pytest.raises(ValueError, match=r"current/SECOND/documents/web\.json is damaged"):
        tables_of(first)
