from pathlib import Path
from typing import Any

import polars as pl
import pytest

from snow_assets.curation.export import export_clean, repository_notices
from snow_assets.storage import shards
from tests.artifacts import finish
from tests.curation.builders import a_file, a_program, clean_corpora

FILES = [
    a_file(f"m{n}.py", a_program(f"{name}{n}"), repository=name)
    for name in ("amber", "birch|`x`", "cedar")
    for n in range(2)
]


@pytest.fixture
def exported(lake_url: str) -> tuple[str, dict[str, Any]]:
    clean = clean_corpora(lake_url, FILES)["python"]
    folder = f"{lake_url}/dataset_exports/python/{'0' * 32}"
    stats = export_clean(clean, folder, language="python")
    return finish(folder, inputs=[clean], stats=stats), stats


def test_datasets_loads_the_folder_offline(
    exported: tuple[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    folder, stats = exported
    loaded = load_dataset(folder, cache_dir=str(tmp_path / "cache"))
    counts = {"train": stats["train_documents"], "held_out": stats["held_out_documents"]}
    assert {name: split.num_rows for name, split in loaded.items()} == {
        name: count for name, count in counts.items() if count
    }
    texts = {row["document_id"]: row["content"].decode() for row in FILES}
    rows = [row for split in loaded.values() for row in split]
    assert {row["document_id"]: row["text"] for row in rows} == texts


def test_the_attribution_lists_every_repository_with_licence_and_files(
    exported: tuple[str, dict[str, Any]],
) -> None:
    lines = Path(exported[0], "ATTRIBUTION.md").read_text().splitlines()
    assert lines[4:7] == [
        "| amber | 1.0 | MIT | 2 |",
        "| birch??x? | 1.0 | MIT | 2 |",
        "| cedar | 1.0 | MIT | 2 |",
    ]
    assert "| MIT | 6 |" in Path(exported[0], "README.md").read_text()


def test_the_attribution_carries_copyright_notices_and_licence_texts(
    exported: tuple[str, dict[str, Any]],
) -> None:
    text = Path(exported[0], "ATTRIBUTION.md").read_text()
    assert "- amber: Copyright (c) 2024 The amber authors\n" in text
    assert "- birch??x?: Copyright (c) 2024 The birch??x? authors\n" in text
    assert "\n## MIT\n\n```text\n" in text
    assert "Permission is hereby granted, free of charge, to any person obtaining a copy" in text


def test_notices_of_repositories_that_are_not_exported_are_not_kept(lake_url: str) -> None:
    clean = clean_corpora(lake_url, FILES)["python"]
    notices = repository_notices(pl.Series(["amber", "amber", "dahlia"]), clean)
    assert notices == {"amber": ["Copyright (c) 2024 The amber authors"]}
    assert repository_notices(pl.Series([], dtype=pl.String), clean) == {}


def test_an_empty_corpus_exports_an_empty_card(lake_url: str) -> None:
    clean = clean_corpora(lake_url, FILES)["sql"]
    folder = f"{lake_url}/dataset_exports/sql/{'0' * 32}"
    assert export_clean(clean, folder, language="sql") == {
        "train_documents": 0,
        "held_out_documents": 0,
    }
    assert [entry.name for entry in shards.records(folder)] == ["ATTRIBUTION.md", "README.md"]
