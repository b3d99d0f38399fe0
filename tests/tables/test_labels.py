"""People's grades come from the lake's folder of CSV files, and a wrong line is named."""

import pytest

from snow_assets.storage import shards
from snow_assets.tables.labels import labels
from snow_assets.tables.sources import lake_tables


def put(lake: str, content: str, name: str = "ada.csv") -> None:
    shards.put(f"{lake}/labels/{name}", content.encode())


def test_without_a_folder_there_are_none(lake_url: str) -> None:
    assert labels(lake_url).num_rows == 0


def test_files_are_read_together_and_further_columns_are_left(lake_url: str) -> None:
    put(lake_url, "document_id,path,grade,grader\na,x.py,4,ada\n")
    put(lake_url, "grader,grade,document_id\nbob,2.5,a\n", name="bob.csv")
    put(lake_url, "no labels", name="notes.txt")
    assert labels(lake_url).to_pylist() == [
        {"document_id": "a", "text_id": None, "grade": 4.0, "grader": "ada"},
        {"document_id": "a", "text_id": None, "grade": 2.5, "grader": "bob"},
    ]


def test_a_grade_of_a_text_is_of_every_document_with_it(lake_url: str) -> None:
    put(lake_url, "text_id,grade,grader\nb,1,some-model\n")
    assert labels(lake_url).to_pylist() == [
        {"document_id": None, "text_id": "b", "grade": 1.0, "grader": "some-model"}
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("document_id,grader\na,ada\n", "ada.csv has no column grade"),
        ("document_id,grade,grader\na,4,ada\nb,good,ada\n", "line 3: grade 'good'"),
        ("document_id,grade,grader\na,6,ada\n", "line 2: grade '6' is no number from 0 to 5"),
        ("document_id,grade,grader\na,,ada\n", "line 2: grade ''"),
        ("document_id,grade,grader\n,4,ada\n", "line 2: no document_id"),
    ],
)
def test_a_wrong_line_is_named(lake_url: str, content: str, says: str) -> None:
    put(lake_url, content)
    with pytest.raises(ValueError, match=says):
        labels(lake_url)


def test_new_grades_make_new_tables(lake_url: str) -> None:
    before = lake_tables(lake_url, [], recipe="TINY", project="").digest
    put(lake_url, "document_id,grade,grader\na,4,ada\n")
    assert lake_tables(lake_url, [], recipe="TINY", project="").digest != before
