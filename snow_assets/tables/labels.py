"""People's grades of documents, an optional input: `labels/*.csv` in the lake."""

import csv
import io

import pyarrow as pa

from snow_assets import shards

LABEL = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("grade", pa.float64(), nullable=False),  # 0 (no value) to 5
        pa.field("grader", pa.string(), nullable=False),
    ]
)
"""A row per document and person."""

_HIGHEST = 5.0


def labels(lake: str) -> pa.Table:
    """Every grade that lies in the lake, in the files' order; none if nobody has graded.

    A file has the columns document_id, grade (0 to 5) and grader, and may have others. ValueError
    names the file, the line and what is wrong with it. Memory: all of them.
    """
    folder = shards.join(lake, "labels")
    rows = []
    for name in shards.names(folder):
        if not name.endswith(".csv"):
            continue
        text = io.StringIO(shards.get(shards.join(folder, name)).decode("utf-8-sig"))
        reader = csv.DictReader(text)
        missing = set(LABEL.names) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"labels/{name} has no column {', '.join(sorted(missing))}")
        for row in reader:
            where = f"labels/{name} line {reader.line_num}"
            rows.append(
                {
                    "document_id": _name(row["document_id"], where),
                    "grade": _grade(row["grade"], where),
                    "grader": row["grader"] or "",
                }
            )
    return pa.Table.from_pylist(rows, LABEL)


def _name(told: str | None, where: str) -> str:
    if not told:
        raise ValueError(f"{where}: no document_id; take it from the table labelling_sample")
    return told


def _grade(told: str | None, where: str) -> float:
    try:
        grade = float(told or "")
    except ValueError:
        grade = -1.0
    if not 0 <= grade <= _HIGHEST:
        raise ValueError(f"{where}: grade {told!r} is no number from 0 to 5; leave the line out")
    return grade
