"""The whole recipe on real code, as `make demo` runs it."""

from pathlib import Path

import pytest

from snow_resources.warehouse import query
from tests.whole.conftest import Installation, run_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def answer(smoke: Installation, sql: str) -> list[tuple[object, ...]]:
    return query(smoke.warehouse, sql).rows


def work_files(lake: Path) -> dict[str, int]:
    """All that took work: every file of the lake but the pointers, and when it was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in lake.rglob("*")
        if path.is_file() and "current" not in path.relative_to(lake).parts
    }


def test_the_last_screen_tells_what_came_out_and_how_to_go_on(smoke: Installation) -> None:
    for word in (
        "kept",
        "near_duplicate",
        "auc",
        "repeats",
        "accepted",
        "loss",
        "bits_per_byte",
        "make dev",
        "localhost:5000",
        "make sql",
    ):
        assert word in smoke.printed, word


def test_the_corpus_is_real_and_large_enough(smoke: Installation) -> None:
    ((files, repositories),) = answer(
        smoke, "select count(*), count(distinct repository) from document_quality"
    )
    assert files >= 2000
    assert repositories >= 20
    kept = answer(smoke, "select language, count(*) from document_quality where kept group by 1")
    languages = {language for language, number in kept if number >= 20}
    assert {"python", "cpp"} <= languages or {"python", "c"} <= languages
    assert len(languages) >= 3
    ((scored,),) = answer(smoke, "select count(*) from document_quality where logit is not null")
    assert scored >= 500


def test_files_in_are_files_kept_and_dropped_by_reason(smoke: Installation) -> None:
    rows = answer(
        smoke,
        "select stage, sum(num_documents) filter (where outcome = 'in'),"
        " sum(num_documents) filter (where outcome <> 'in') from curation_funnel group by stage",
    )
    assert {stage for stage, _, _ in rows} == {"raw_code_corpus", "documents", "clean_corpus"}
    assert all(given == accounted for _, given, accounted in rows)
    assert answer(
        smoke, "select count(*) from document_quality where not kept and reason is null"
    ) == [(0,)]


def test_selection_spends_its_budget_from_the_top(smoke: Installation) -> None:
    rows = answer(
        smoke,
        "select language, min(logit) filter (where repeats > 0),"
        " max(logit) filter (where repeats = 0) from selection group by language",
    )
    assert rows
    for _, lowest_selected, highest_refused in rows:
        if lowest_selected is not None and highest_refused is not None:
            assert lowest_selected >= highest_refused


def test_three_checkpoints_are_scored_and_programs_ran_in_the_sandbox(smoke: Installation) -> None:
    rows = answer(
        smoke,
        "select checkpoint, count(*) filter (where metric = 'bits_per_byte'),"
        " count(*) filter (where metric = 'pass_at_1' and value is not null)"
        " from checkpoint_scoreboard group by checkpoint",
    )
    assert {name for name, _, _ in rows} == {
        "general_checkpoint",
        "continued_checkpoint",
        "enhanced_checkpoint",
    }
    assert all(bits > 0 and programs > 0 for _, bits, programs in rows)
    levels = answer(smoke, "select distinct isolation from benchmark_executions")
    assert all(str(level).startswith("seccomp+landlock+rlimits") for (level,) in levels)


def test_a_second_run_redoes_no_finished_work(smoke: Installation) -> None:
    before = work_files(smoke.home / "lake")
    published = smoke.warehouse.stat().st_mtime_ns
    again = run_demo(smoke.home)
    assert work_files(smoke.home / "lake") == before
    assert smoke.warehouse.stat().st_mtime_ns == published
    steps = [line for line in again.printed.splitlines() if " s  " in line]
    assert steps
    assert all("nothing new" in line for line in steps), again.printed
