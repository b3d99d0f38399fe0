"""Tables that Dagster shows."""

from snow_assets import markdown


def test_numbers_stand_right_and_no_value_leaves_its_cell() -> None:
    rows = [("a|b\n<img src=x>`[y](z)", 1_234), ("true", 5)]
    assert markdown.table(["name", "files"], rows).split("\n") == [
        "| name | files |",
        "| --- | ---: |",
        "| a?b??img src=x???y?(z) | 1,234 |",
        "| true | 5 |",
    ]


def test_a_table_without_rows_has_its_names() -> None:
    assert markdown.table(["name", "files"], []) == "| name | files |\n| --- | --- |"
