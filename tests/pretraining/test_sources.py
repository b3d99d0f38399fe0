"""What each phase may read, and how often."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snow_assets.pretraining.sources import (
    COLUMNS,
    LanguageSource,
    clean_sources,
    high_quality_sources,
    mixed_sources,
    synthetic_sources,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION
from snow_assets.storage.schemas.quality import SELECTION
from tests.pretraining.builders import (
    CONTEXT,
    PHASE,
    a_corpus,
    clean_text,
    finish,
    put_clean_corpus,
    put_packs,
    put_subset,
    put_synthetic,
)


def rows_of(source: LanguageSource) -> list[dict[str, Any]]:
    return [row for read_shard in source.shards for row in read_shard(COLUMNS).to_pylist()]


def names(source: LanguageSource) -> dict[str, int]:
    """Document -> passes."""
    rows = rows_of(source)
    assert len(rows) == source.num_documents
    tokens = [
        sum(row["num_tokens"] + 1 for row in rows if row["passes"] > index)
        for index in range(len(source.pass_tokens))
    ]
    assert tokens == list(source.pass_tokens)
    return {row["document_id"]: row["passes"] for row in rows}


def test_the_general_phase_reads_every_training_document_of_every_language(lake_url: str) -> None:
    held_out = frozenset({"c-one/0.x", "python-two/3.x"})
    clean = put_clean_corpus(lake_url, a_corpus(), held_out)
    c, python = clean_sources(clean, max_passes=3)
    assert (c.language, python.language) == ("c", "python")
    expected = {row["document_id"] for row in a_corpus()} - held_out
    assert {**names(c), **names(python)} == dict.fromkeys(expected, 3)


def test_the_continued_phase_reads_what_is_selected_as_often_as_it_says(lake_url: str) -> None:
    clean = put_clean_corpus(lake_url, a_corpus())
    repeats = {"c-one/0.x": 4, "c-two/1.x": 1, "python-one/2.x": 2}
    c, python = high_quality_sources(clean, put_subset(lake_url, a_corpus(), repeats), max_passes=4)
    assert {**names(c), **names(python)} == repeats
    assert len(c.pass_tokens) == 4
    assert c.pass_tokens[1] == c.pass_tokens[3] < c.pass_tokens[0] == c.unique_tokens


def test_more_repeats_than_passes_are_refused(lake_url: str) -> None:
    clean = put_clean_corpus(lake_url, a_corpus())
    subset = put_subset(lake_url, a_corpus(), {"c-one/0.x": 4})
    with pytest.raises(ValueError, match=r"4 times.*max_passes is 3"):
        high_quality_sources(clean, subset, max_passes=3)


def test_a_selection_of_what_is_not_kept_for_training_is_refused(lake_url: str) -> None:
    clean = put_clean_corpus(lake_url, a_corpus(), frozenset({"c-one/0.x"}))
    subset = put_subset(lake_url, a_corpus(), {"c-one/0.x": 1})
    with pytest.raises(ValueError, match=r"1 documents .* does not keep for training, c-one/0\.x"):
        high_quality_sources(clean, subset, max_passes=4)


def test_the_enhanced_phase_reads_synthetic_files_under_their_seeds_repository(
    lake_url: str,
) -> None:
    c, python = synthetic_sources(put_synthetic(lake_url, a_corpus()), max_passes=5)
    assert set(names(c).values()) == set(names(python).values()) == {5}
    rows = rows_of(python)
    assert {row["repository"] for row in rows} == {"python-one", "python-two", "python-three"}
    assert all(row["document_id"].startswith("new:python-") for row in rows)


def test_a_mix_has_every_document_of_its_sources_in_its_own_passes(lake_url: str) -> None:
    clean = put_clean_corpus(lake_url, a_corpus())
    subset = put_subset(lake_url, a_corpus(), {"c-one/0.x": 3, "python-one/2.x": 1})
    python_files = [row for row in a_corpus() if row["language"] == "python"]
    parts = [
        *high_quality_sources(clean, subset, max_passes=4),
        *synthetic_sources(put_synthetic(lake_url, python_files), max_passes=2),
    ]
    c, python = mixed_sources(parts)
    assert names(c) == {"c-one/0.x": 3}
    assert names(python) == {"python-one/2.x": 1} | {
        f"new:{row['document_id']}": 2 for row in python_files
    }


def test_a_language_without_documents_offers_nothing(lake_url: str) -> None:
    clean = put_clean_corpus(lake_url, a_corpus())
    empty, subset = (f"{lake_url}/{asset}/bare/g" for asset in ("clean_corpus", "subset"))
    shards.put_table(empty, "decisions", 0, [], DECISION)
    shards.put_table(subset, "documents", 0, [], SELECTION)
    finish(empty)
    finish(subset)
    sources = clean_sources([*clean, empty], max_passes=4)
    assert [source.unique_tokens for source in sources[2:]] == [0]
    chosen = high_quality_sources([*clean, empty], [subset], max_passes=4)
    assert [source.pass_tokens for source in chosen] == [[]]
    packs = put_packs(lake_url, sources)
    assert shards.manifest(packs).stats["tokens"] == PHASE.tokens


def test_a_budget_beyond_max_passes_is_refused_before_anything_is_written(
    lake_url: str, tmp_path: Path
) -> None:
    phase = replace(PHASE, tokens=4_000 * CONTEXT)
    with pytest.raises(ValueError, match=r"tokens, all passes counted, fill .* needs 4000"):
        put_packs(lake_url, clean_text(lake_url), phase=phase)
    assert not (tmp_path / "lake" / "general_packs").exists()
