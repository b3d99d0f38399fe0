"""Grades of documents by people or a model, an optional input: `labels/*.csv` in the lake."""

import csv
import io
from collections.abc import Mapping

import pyarrow as pa

from snow_assets.storage import shards

LABEL = pa.schema(
    [
        pa.field("document_id", pa.string()),
        pa.field("text_id", pa.string()),  # of all documents with this text, if none is named
        pa.field("grade", pa.float64(), nullable=False),  # 0 (no value) to 5
        pa.field("grader", pa.string(), nullable=False),  # a model's name says that it is a model
    ]
)
"""A row per document or text, and grader."""

_KEYS = ("document_id", "text_id")

_MAX_GRADE = 5.0


def labels(lake: str) -> pa.Table:
    """Read all labels of the lake, in the order of the files; empty without labels.

    A file has the columns document_id or text_id, grade (0 to 5) and grader, and may have more.
    Raises ValueError with the file, the line and the error. Memory: all labels.
    """
    folder = shards.join(lake, "labels")
    rows = []
    for name in shards.names(folder):
        if not name.endswith(".csv"):
            continue
        text = io.StringIO(shards.get(shards.join(folder, name)).decode("utf-8-sig"))
        reader = csv.DictReader(text)
        columns = set(reader.fieldnames or ())
        missing = {"grade", "grader"} - columns
        missing |= set() if columns & set(_KEYS) else {"document_id"}
        if missing:
            raise ValueError(f"labels/{name} has no column {', '.join(sorted(missing))}")
        for row in reader:
            location = f"labels/{name} line {reader.line_num}"
            rows.append(
                {
                    **_parse_key(row, location),
                    "grade": _parse_grade(row["grade"], location),
                    "grader": row["grader"] or "",
                }
            )
    return pa.Table.from_pylist(rows, LABEL)


def _parse_key(row: Mapping[str, str | None], location: str) -> dict[str, str | None]:
    key = {name: row.get(name) or None for name in _KEYS}
    if not any(key.values()):
        raise ValueError(f"{location}: no document_id; take it from the table labelling_sample")
    return key


def _parse_grade(text: str | None, location: str) -> float:
    try:
        grade = float(text or "")
    except ValueError:
        grade = -1.0
    if not 0 <= grade <= _MAX_GRADE:
        raise ValueError(f"{location}: grade {text!r} is no number from 0 to 5; leave the line out")
    return grade
