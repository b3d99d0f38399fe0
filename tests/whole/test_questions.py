"""The questions of docs/questions.md, asked of SMOKE: each answers in the columns that it shows."""

import re
from typing import NamedTuple

import pytest

from snow_resources.warehouse import QueryResult, query
from tests.whole.conftest import CHECKOUT, Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


class Question(NamedTuple):
    """A heading, its SQL, and the answer that the page shows; None: it shows none."""

    title: str
    sql: str
    shown: str | None


_SECTION = re.compile(
    r"^## (?P<title>.+?)$.*?^```sql\n(?P<sql>.+?)^```$(?:\n\n^```\n(?P<shown>.+?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
QUESTIONS = [
    Question(**found.groupdict())
    for found in _SECTION.finditer((CHECKOUT / "docs" / "questions.md").read_text())
]
WITHOUT_ROWS = 3  # a former and a further annotator, and grades, which SMOKE has not


def asked(smoke: Installation, question: Question) -> QueryResult:
    return query(smoke.warehouse, question.sql)


def rows(smoke: Installation, sql: str) -> list[tuple[object, ...]]:
    return query(smoke.warehouse, sql).rows


def test_there_are_ten_and_three_that_need_more() -> None:
    assert len(QUESTIONS) == 10 + WITHOUT_ROWS


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_a_question_answers_in_the_columns_that_the_page_shows(
    smoke: Installation, question: Question
) -> None:
    answer = asked(smoke, question)
    if question in QUESTIONS[-WITHOUT_ROWS:]:
        assert answer.rows == []
        return
    assert answer.rows
    assert question.shown, "the page shows no answer"
    assert question.shown.splitlines()[0].split() == answer.columns


def test_a_duplicates_canonical_document_is_kept_or_dropped_for_another_reason(
    smoke: Installation,
) -> None:
    assert (
        rows(
            smoke,
            "select files.path from document_quality as files"
            " left join document_quality as canonical on canonical.document_id = files.duplicate_of"
            " where files.reason like '%_duplicate'"
            " and (canonical.document_id is null or canonical.reason like '%_duplicate')",
        )
        == []
    )


def test_drop_reasons_add_up_to_the_dropped_files(smoke: Installation) -> None:
    assert rows(smoke, "select sum(num_documents) from drop_reasons") == rows(
        smoke, "select count(*) from document_quality where kept = false"
    )


def test_the_curve_rises_and_ends_with_everything(smoke: Installation) -> None:
    assert (
        rows(
            smoke,
            "select language from (select language, num_tokens, threshold,"
            " lag(num_tokens) over step as before, lag(threshold) over step as higher"
            " from selection_curve window step as (partition by language order by percent))"
            " where num_tokens < before or threshold > higher",
        )
        == []
    )
    assert rows(
        smoke, "select language, num_tokens from selection_curve where percent = 100 order by 1"
    ) == rows(
        smoke,
        "select language, sum(num_tokens)::bigint from selection group by 1 order by 1",
    )


def test_repositories_hold_what_the_selection_trains_on(smoke: Installation) -> None:
    assert rows(smoke, "select sum(num_trained_tokens) from repository_quality") == rows(
        smoke, "select sum(num_trained_tokens) from selection"
    )


def test_licences_hold_what_the_phases_saw(smoke: Installation) -> None:
    assert rows(
        smoke,
        "select stage, sum(num_tokens) from license_mix where stage like '%_checkpoint'"
        " group by stage order by stage",
    ) == rows(
        smoke,
        "select checkpoint, sum(num_tokens) from checkpoint_documents"
        " where phase || '_checkpoint' = checkpoint group by checkpoint order by checkpoint",
    )


def test_the_sample_to_grade_weighs_as_much_as_the_selections_documents(
    smoke: Installation,
) -> None:
    [(weight,)] = rows(smoke, "select sum(weight) from labelling_sample")
    assert rows(smoke, "select count(*) from selection") == [(pytest.approx(weight),)]
