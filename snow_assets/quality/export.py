"""The selected documents as a data set folder, with their repeats beside the text."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.export import export_dataset, repository_notices
from snow_assets.curation.kept import decisions
from snow_assets.quality.selection import selected_documents, selected_rows

_COLUMNS = (
    "document_id",
    "text_id",
    "source",
    "repository",
    "revision",
    "path",
    "license",
    "language",
    "num_tokens",
    "text",
)


def export_selected(
    clean_folder: str, subset_folder: str, folder: str, *, language: str
) -> dict[str, Any]:
    """Export what a `high_quality_subset` generation selected; each text once, `repeats` beside."""
    chosen = set(selected_rows(subset_folder))
    table = decisions(clean_folder)
    # Typed: a language without a document has an empty column.
    is_chosen = pa.array([name in chosen for name in table["document_id"].to_pylist()], pa.bool_())
    return export_dataset(
        folder,
        title=f"High-quality {language} subset",
        description=(
            f"The files in {language} that a quality annotator ranks highest, from the clean "
            "corpus's training split. Each text stands here once; `repeats` says how often the "
            "recipe trains on it."
        ),
        splits={"train": selected_documents(clean_folder, subset_folder, columns=_COLUMNS)},
        sources=table.filter(pc.and_(table["kept"], is_chosen)),
        notices=repository_notices(clean_folder),
    )
