"""Export the selected documents as a data set folder, with column `repeats`."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.export import export_dataset, repository_notices
from snow_assets.curation.kept import decisions
from snow_assets.quality.selection import read_repeats, selected_documents

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
    """Export the documents of a `high_quality_subset` artifact, each once, with its `repeats`."""
    selected_ids = set(read_repeats(subset_folder))
    table = decisions(clean_folder)
    # With a type, because the column of a language without documents is empty.
    is_selected = pa.array(
        [name in selected_ids for name in table["document_id"].to_pylist()], pa.bool_()
    )
    return export_dataset(
        folder,
        title=f"High-quality {language} subset",
        description=(
            f"The files in {language} that a quality annotator ranks highest, from the clean "
            "corpus's training split. Each text stands here once; `repeats` says how often the "
            "recipe trains on it."
        ),
        splits={"train": selected_documents(clean_folder, subset_folder, columns=_COLUMNS)},
        sources=table.filter(pc.and_(table["kept"], is_selected)),
        notices=repository_notices(clean_folder),
    )
