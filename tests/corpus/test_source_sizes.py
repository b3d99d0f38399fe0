"""A source's size is told by listings, before anything is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets.corpus.source_sizes import source_size
from snow_assets.corpus.sources import units
from snow_assets.recipe import SMOKE, Source

LANGUAGES = SMOKE.curation.languages


def a_source(kind: str, *locations: str, limit: int | None = None) -> Source:
    return replace(
        SMOKE.corpus.sources[0],
        name="s",
        kind=kind,
        locations=locations,
        files_per_repository=limit,
    )


def test_a_folder_counts_its_files_in_the_languages(tmp_path: Path) -> None:
    for repository in ("one", "two"):
        (tmp_path / repository / ".git").mkdir(parents=True)
        (tmp_path / repository / ".git" / "hook.py").write_text("x" * 5_000)
        (tmp_path / repository / "notes.txt").write_text("x" * 5_000)
        for number in range(10):
            (tmp_path / repository / f"m{number}.py").write_text("x" * 100)
    whole = source_size(a_source("folder", str(tmp_path)), languages=LANGUAGES, recipe=SMOKE.corpus)
    assert (whole.num_files, whole.num_bytes) == (20, 2_000)
    sample = source_size(
        a_source("folder", str(tmp_path), limit=3), languages=LANGUAGES, recipe=SMOKE.corpus
    )
    assert (sample.num_files, sample.num_bytes) == (6, 600)


def test_distributions_count_the_files_that_an_ingest_would_read() -> None:
    source = a_source("distributions", "packaging", "numpy:numpy/f2py", limit=20)
    size = source_size(source, languages=LANGUAGES, recipe=SMOKE.corpus)
    paths = [
        path
        for unit in units(source, languages=LANGUAGES, recipe=SMOKE.corpus)
        for _, path in unit.listing()
    ]
    assert 20 < size.num_files <= min(len(paths), 2 * 20 * len(LANGUAGES))
    assert size.num_bytes > 50_000


@pytest.mark.parametrize(
    ("name", "kind", "num_bytes"),
    [
        ("a.tar.gz", "archives", 4_000),
        ("a.tar", "archives", 1_000),
        ("a.zip", "archives", 3_500),
        ("a.parquet", "rows", 4_000),
        ("a.jsonl", "rows", 1_000),
        ("a.jsonl.gz", "stack_v3", 4_000),
    ],
)
def test_archives_and_tables_count_by_their_stored_size(
    tmp_path: Path, name: str, kind: str, num_bytes: float
) -> None:
    (tmp_path / name).write_bytes(b"\0" * 1_000)
    size = source_size(a_source(kind, str(tmp_path)), languages=LANGUAGES, recipe=SMOKE.corpus)
    assert size.num_bytes == num_bytes


def test_a_location_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not there"):
        source_size(
            a_source("archives", str(tmp_path / "no")), languages=LANGUAGES, recipe=SMOKE.corpus
        )
