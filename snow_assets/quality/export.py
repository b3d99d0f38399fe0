"""Export the selected documents as a data set folder, with column `repeats`."""

from typing import Any

from snow_assets.curation.export import (
    COLUMNS,
    SOURCE_COLUMNS,
    export_dataset,
    repository_notices,
)
from snow_assets.curation.kept import kept_rows
from snow_assets.quality.selection import read_selected, selected_documents


def export_selected(
    clean_folder: str, subset_folder: str, folder: str, *, language: str
) -> dict[str, Any]:
    """Export the documents of a `high_quality_subset` artifact, each once, with its `repeats`."""
    selected = read_selected(subset_folder)
    sources = kept_rows(clean_folder, ("document_id", *SOURCE_COLUMNS)).join(
        selected, on="document_id", how="semi"
    )
    return export_dataset(
        folder,
        title=f"High-quality {language} subset",
        description=(
            f"The files in {language} that a quality annotator ranks highest, from the clean "
            "corpus's training split. Each text stands here once; `repeats` says how often the "
            "recipe trains on it."
        ),
        splits={"train": selected_documents(clean_folder, subset_folder, columns=COLUMNS)},
        sources=sources,
        notices=repository_notices(sources["repository"], clean_folder),
    )
