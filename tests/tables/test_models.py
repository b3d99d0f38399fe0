"""The published tables answer what people ask of them, by simple SQL."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from snow_resources.warehouse import TABLES, query
from tests.tables.conftest import Publication
from tests.tables.lake import sha


@pytest.fixture
def ask(whole: Publication) -> Any:
    return lambda sql: query(whole.warehouse.path, sql).rows


def test_why_a_file_was_dropped_is_one_row(ask: Any) -> None:
    why = "select stage, reason, evidence from document_quality where path = "
    assert ask(why + "'huge.py'") == [("raw_code_corpus", "too_large", "9000000 bytes")]
    assert ask(why + "'binary.py'") == [("documents", "not_text", None)]
    assert ask(why + "'leak.py'") == [("clean_corpus", "contaminated", "HumanEval/3")]
    assert ask(why + "'good.py'") == [("clean_corpus", None, None)]


def test_a_dropped_copy_names_its_canonical_document(ask: Any) -> None:
    assert ask(
        "select kept, duplicate_of, duplicate_kind, duplicate_jaccard "
        "from document_quality where path = 'copy.py'"
    ) == [(False, sha("good"), "near", 0.9)]


def test_a_leak_names_the_problem_and_the_text_that_agrees(ask: Any) -> None:
    assert ask(
        "select contaminated_by, contamination_method, contamination_evidence "
        "from document_quality where path = 'leak.py'"
    ) == [("HumanEval/3", "substring", "def below_zero")]


def test_a_kept_file_shows_the_current_annotators_score_and_its_repeats(ask: Any) -> None:
    assert ask(
        "select annotator, logit, percentile, repeats from document_quality where path = 'good.py'"
    ) == [("second", 2.0, 0.5, 4)]


def test_each_languages_gates_and_what_they_let_select_are_tables(ask: Any) -> None:
    assert ask("select language, auc, passed from annotator_gates order by auc") == [
        ("c", 0.5, False),
        (None, 0.8, True),
        ("python", 0.9, True),
    ]
    assert ask(
        "select language, graders, rank_correlation, passed from annotator_rank_correlations"
    ) == [(None, "some-model", 0.5, True)]
    assert ask("select language, annotator, selected, gate_failures from selected_languages") == [
        ("python", "second", True, None)
    ]


def test_every_received_file_is_there_once(ask: Any) -> None:
    assert ask("select count(*), count(distinct document_id) from document_quality") == [(7, 7)]


def test_both_annotators_scores_stay_queryable(ask: Any) -> None:
    assert ask(
        "select annotator, is_current, max(logit) from score_history group by all order by all"
    ) == [("first", False, 0.5), ("second", True, 2.0)]
    assert ask("select annotator, p50 from quality_by_language order by annotator") == [
        ("first", 0.375),
        ("second", 0.5),
    ]


def test_logits_are_kept_in_single_precision(ask: Any) -> None:
    assert set(
        ask("select data_type from duckdb_columns() where column_name in ('logit', 'p50')")
    ) == {("FLOAT",)}


def test_the_funnel_adds_up_at_every_stage(ask: Any) -> None:
    totals = ask(
        "select stage, outcome, sum(num_documents)::int from curation_funnel "
        "group by stage_order, stage, outcome order by stage_order, outcome"
    )
    assert totals == [
        ("raw_code_corpus", "dropped", 1),
        ("raw_code_corpus", "in", 7),
        ("raw_code_corpus", "kept", 6),
        ("documents", "dropped", 1),
        ("documents", "in", 6),
        ("documents", "kept", 5),
        ("clean_corpus", "dropped", 2),
        ("clean_corpus", "in", 5),
        ("clean_corpus", "kept", 3),
    ]


def test_a_checkpoint_answers_for_its_ancestors_sources_too(ask: Any) -> None:
    assert ask(
        "select phase, repository, license, num_documents, num_tokens, is_synthetic "
        "from checkpoint_sources where checkpoint = 'enhanced_checkpoint' order by num_tokens"
    ) == [
        ("enhanced", "flask", "MIT", 1, 30, True),
        ("general", "flask", "MIT", 2, 100, False),
        ("continued", "flask", "MIT", 1, 200, False),
    ]
    assert ask(
        "select distinct phase from checkpoint_sources where checkpoint = 'general_checkpoint'"
    ) == [("general",)]


def test_a_synthetic_file_leads_to_the_file_that_seeded_it(ask: Any) -> None:
    assert ask("select seed_repository, seed_path, num_tokens from synthetic_files") == [
        ("flask", "good.py", 30)
    ]
    assert ask(
        "select path, source_document_id from checkpoint_documents "
        "where checkpoint = 'enhanced_checkpoint' and is_synthetic"
    ) == [("good.py", sha("good"))]


def test_what_was_refused_stands_beside_what_was_accepted(ask: Any) -> None:
    assert ask("select mode, outcome, reason, share from synthetic_yield order by outcome") == [
        ("oss_instruct", "accepted", None, 0.5),  # its table states no mode
        ("oss_instruct", "refused", "does_not_compile", 0.5),
    ]


def test_the_scoreboard_says_on_how_many_tokens_a_value_rests(ask: Any) -> None:
    assert ask(
        "select checkpoint, value, phase_tokens, total_tokens from checkpoint_scoreboard "
        "order by total_tokens"
    ) == [("general_checkpoint", 2.5, 100, 100), ("enhanced_checkpoint", 2.5, 30, 330)]


def test_the_selection_is_summed_by_language_and_repeats(ask: Any) -> None:
    assert ask(
        "select language, repeats, num_documents, num_trained_tokens from selection_by_language "
        "order by repeats"
    ) == [("python", 0, 1, 0), ("python", 4, 1, 200)]


def test_the_current_annotator_stands_beside_a_former_one(ask: Any) -> None:
    assert ask(
        "select former_annotator, annotator, num_documents, rank_correlation, num_entering, "
        "num_leaving, num_crossing_tokens from annotator_drift"
    ) == [("first", "second", 2, -1.0, 1, 1, 100)]


def test_each_reason_says_how_many_files_it_took(ask: Any) -> None:
    assert ask(
        "select language, reason, num_documents, num_repositories from drop_reasons order by all"
    ) == [
        ("python", "contaminated", 1, 1),
        ("python", "near_duplicate", 1, 1),
        ("python", "not_text", 1, 1),
        ("unknown", "too_large", 1, 1),
    ]


def test_redactions_are_counted_by_kind_in_all_and_in_kept_documents(ask: Any) -> None:
    assert ask("select * from redactions where kind = 'email' order by language") == [
        ("TINY", "python", "email", 4, 4, 2, 2),
        ("TINY", "sql", "email", 1, 1, 1, 1),
    ]


def test_a_kept_file_without_a_score_is_pending_work(ask: Any) -> None:
    expected = ask("select path from document_quality where kept and logit is null")
    assert len(expected) == 1
    assert ask("select path, pending from pending_documents") == [(*expected[0], "score")]


def test_a_repository_says_what_came_of_its_files(ask: Any) -> None:
    assert ask(
        "select language, num_raw_files, num_kept, num_duplicates, num_contaminated, num_tokens,"
        " mean_logit, num_selected_tokens, num_trained_tokens from repository_quality order by 1"
    ) == [
        ("python", 5, 2, 1, 1, 100, 0.5, 50, 200),
        ("sql", 1, 1, 0, 0, 50, None, 0, 0),
        ("unknown", 1, 0, 0, 0, None, None, 0, 0),
    ]


def test_licences_are_followed_from_what_came_in_to_each_checkpoint(ask: Any) -> None:
    assert ask(
        "select stage, license, num_documents, num_tokens from license_mix order by stage_order, 2"
    ) == [
        ("raw_code_corpus", "MIT", 6, None),
        ("raw_code_corpus", "unknown", 1, None),
        ("documents", "MIT", 5, None),
        ("clean_corpus", "MIT", 3, 150),
        ("high_quality_subset", "MIT", 1, 200),
        ("synthetic_set", "MIT", 1, 30),
        ("general_checkpoint", "MIT", 2, 100),
        ("continued_checkpoint", "MIT", 1, 200),
        ("enhanced_checkpoint", "MIT", 1, 30),
    ]


def test_nobody_has_graded_so_nothing_agrees(ask: Any) -> None:
    assert ask("select count(*) from label_agreement") == [(0,)]


def test_what_a_row_must_have_is_a_constraint_of_its_table(ask: Any) -> None:
    assert ask(
        "select unnest(constraint_column_names) from duckdb_constraints() "
        "where table_name = 'document_quality' and constraint_type = 'NOT NULL' order by all"
    ) == [("document_id",), ("path",), ("repository",), ("source",), ("stage",)]


def test_the_file_needs_nothing_else_and_says_what_each_column_is(
    whole: Publication, tmp_path: Path, ask: Any
) -> None:
    elsewhere = tmp_path / "renamed.duckdb"
    shutil.copy(whole.warehouse.path, elsewhere)
    views = ask("select view_name from duckdb_views() where not internal order by all")
    assert views == [("checkpoint_documents",), ("selection",)]
    for (view,) in views:
        sql = f"select * from {view} order by all"
        assert query(elsewhere, sql).rows == ask(sql)
    assert (
        ask(
            "select table_name, column_name from duckdb_columns() "
            "where schema_name = 'main' and not internal and comment is null"
        )
        == []
    )
    assert set(views) < {(name,) for name, _, what_it_holds in ask(TABLES) if what_it_holds}
