"""What dbt's exposures say reads the tables, and what does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from snow_assets.cli import summary
from snow_assets.home import CHECKOUT
from snow_assets.tables.assets import _manifest
from snow_assets.tables.graph import asset_specs

EXPOSURES = {exposure["label"]: exposure for exposure in _manifest["exposures"].values()}
PUBLISHED = {spec.key.to_user_string() for spec in asset_specs(_manifest)}
QUESTIONS = re.findall(
    r"^## (.+?)$.*?^```sql\n(.+?)^```$",
    (CHECKOUT / "docs" / "questions.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


def table_names(node: Any) -> Iterator[str]:
    """The tables that a parsed query reads."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from table_names(child)


def tables_of(*queries: str) -> set[str]:
    parsed = [
        json.loads(duckdb.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0])
        for sql in queries
    ]
    assert not any(tree["error"] for tree in parsed)
    return set(table_names(parsed)) & PUBLISHED


def exposed(label: str) -> set[str]:
    return {name.split(".")[-1] for name in EXPOSURES[label]["depends_on"]["nodes"]}


def test_every_question_of_the_docs_is_an_exposure_of_the_tables_that_it_reads() -> None:
    assert len(QUESTIONS) == 13
    assert {title: exposed(title) for title, _ in QUESTIONS} == {
        title: tables_of(sql) for title, sql in QUESTIONS
    }


def test_the_readmes_questions_are_an_exposure_of_the_tables_that_they_read() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    queries = re.findall(r'make sql Q="(select [^.].+?)"\n', readme, re.DOTALL)
    assert len(queries) == 4
    assert exposed("Questions of the README") == tables_of(*queries)


def test_the_demos_summary_is_an_exposure_of_the_tables_that_it_reads() -> None:
    queries = [summary._FUNNEL, summary._SELECTED, summary._SYNTHETIC, summary._SCORES]
    expected = tables_of(*(sql.format(recipe="'SMOKE'") for sql in queries))
    assert exposed("The last screen of make demo") == expected


def test_every_published_table_has_a_page_in_dagster() -> None:
    assert exposed("Dagster, group tables") == PUBLISHED


def test_every_exposure_says_who_is_asked_and_how_firm_it_is() -> None:
    for exposure in EXPOSURES.values():
        assert exposure["owner"]["name"].startswith("team:"), exposure["name"]
        assert exposure["maturity"] in ("high", "medium"), exposure["name"]
        assert exposure["description"] and exposure["url"], exposure["name"]
