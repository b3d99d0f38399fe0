"""Graded texts: rows of tables with a grade of 0 to 5, of the rows' own texts or of the corpus's.

A row that cannot be read, is no training document of the clean corpus, or holds a benchmark problem
becomes a row of table `drops`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from snow_assets.corpus.locations import list_files
from snow_assets.corpus.raw_shards import DROPS
from snow_assets.corpus.source_units import Refusal
from snow_assets.corpus.spdx import is_spdx
from snow_assets.corpus.table_rows import Row
from snow_assets.corpus.table_rows import rows as rows_of_file
from snow_assets.corpus.tables import SUFFIXES, row_limits
from snow_assets.corpus.tables import snapshot as table_snapshot
from snow_assets.curation.decontamination.prefilter import hits, index_problems
from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.quality.exemplar_rows import drop_row, exemplar, redacted, refused_row
from snow_assets.quality.text_shards import put_texts
from snow_assets.recipe import ContaminationRecipe, CorpusRecipe, GradeTable, RowPositives
from snow_assets.recipe.annotator import MAX_GRADE
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import DROP
from snow_assets.storage.schemas.quality import GRADED_TEXT

TABLE = "texts"

_BATCH_ROWS = 256

Key = tuple[str, ...]
"""A text id, or repository and path."""


@dataclass(frozen=True, kw_only=True)
class _Graded:
    """A readable row: its grade, and its text or the key of the corpus's document."""

    grade: float
    row: Row
    key: Key | None
    text: Mapping[str, Any] | None


def table_named(tables: Sequence[GradeTable], name: str) -> GradeTable:
    return next(table for table in tables if table.name == name)


def snapshot(table: GradeTable) -> dict[str, str]:
    """Versions of a table's files; ValueError with the remedy if they are not there."""
    try:
        if table.license and not (
            is_spdx(table.license) or table.license.startswith("LicenseRef-")
        ):
            raise ValueError(f"license {table.license!r} is not on SPDX's list: correct it")
        return table_snapshot(table.locations)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the grades {table.name!r} of the recipe's annotator.grades: {error}. Bring the "
            "data there, or state another table"
        ) from error


def write(
    folder: str,
    *,
    table: GradeTable,
    corpus: CorpusRecipe,
    languages: Sequence[str],
    clean_folders: Sequence[str],
    problems: pa.Table,
    contamination: ContaminationRecipe,
) -> dict[str, Any]:
    """Write tables `texts`, each text once, and `drops`; return counts.

    Memory: the graded texts, and the corpus's ids of a language. ValueError for a table without
    any graded text.
    """
    index = index_problems(problems, recipe=contamination)
    counts: Counter[str] = Counter()
    drops: list[dict[str, Any]] = []
    texts: dict[str, dict[str, Any]] = {}
    grades: dict[str, list[float]] = {}
    for item in _graded_texts(table, corpus, languages, clean_folders):
        if isinstance(item, Refusal):
            drops.append(refused_row(table.name, item))
            counts[item.reason] += 1
            continue
        grade, row = item
        if row["text_id"] not in texts and (problem_hits := hits(row["text"], index)):
            first = problem_hits[0]
            evidence = f"{first.problem_id}, {first.method}: {first.evidence}"
            drops.append(drop_row(table.name, row, "contaminated", evidence))
            counts["contaminated"] += 1
            continue
        texts.setdefault(row["text_id"], row)
        grades.setdefault(row["text_id"], []).append(grade)
    if not texts:
        raise ValueError(
            f"the grades {table.name!r} are of no text in {tuple(languages)}: {dict(counts)}. "
            "Correct the table's columns in the recipe's annotator.grades"
        )
    shards.put_table(folder, DROPS, 0, drops, DROP)
    constant = {"table": table.name, "grader": table.grader, "rubric": table.rubric}
    rows = [
        {
            **row,
            **constant,
            "grade": sum(grades[text_id]) / len(grades[text_id]),
            "num_grades": len(grades[text_id]),
        }
        for text_id, row in texts.items()
    ]
    put_texts(folder, TABLE, rows, GRADED_TEXT)
    return {"num_texts": len(texts), "grader": table.grader, **dict(sorted(counts.items()))}


def _graded_texts(
    table: GradeTable,
    corpus: CorpusRecipe,
    languages: Sequence[str],
    clean_folders: Sequence[str],
) -> Iterator[tuple[float, dict[str, Any]] | Refusal]:
    """A grade and the columns of a graded text for each row, or its refusal."""
    batch: list[_Graded] = []
    for item in _rows(table, corpus, languages):
        if isinstance(item, Refusal):
            yield item
        else:
            batch.append(item)
    own = [item for item in batch if item.text is not None]
    for start in range(0, len(own), _BATCH_ROWS):
        part = own[start : start + _BATCH_ROWS]
        texts = redacted([dict(item.text or {}) for item in part])
        for item, (_, row) in zip(part, texts, strict=True):
            yield item.grade, row
    named = [item for item in batch if item.key is not None]
    documents = _documents({item.key for item in named if item.key}, table, clean_folders)
    for item in named:
        document = documents.get(item.key or ())
        if document is None:
            name = "/".join(item.key or ())
            yield item.row.refused("not_in_corpus", f"{name} is no kept document")
        elif document["split"] != "train":
            yield item.row.refused("held_out", f"{document['repository']} is held out")
        else:
            yield item.grade, document


def _rows(
    table: GradeTable, corpus: CorpusRecipe, languages: Sequence[str]
) -> Iterator[_Graded | Refusal]:
    limits = row_limits(False, corpus.max_file_bytes, corpus.archives)
    positives = None if table.text_column is None else _as_positives(table)
    for file in list_files(table.locations, SUFFIXES):
        for row in rows_of_file(file, limits):
            yield (
                row
                if isinstance(row, Refusal)
                else _graded(row, table, positives, corpus, languages)
            )


def _as_positives(table: GradeTable) -> RowPositives:
    """The table's own texts, as rows of positives are read."""
    return RowPositives(
        name=table.name,
        locations=table.locations,
        license=table.license or "",
        prompt_column=None,
        response_column=table.text_column,
        messages_column=None,
        language_column=table.language_column,
        default_language=table.default_language,
        max_positives=1,
        weight=table.weight,
    )


def _graded(
    row: Row,
    table: GradeTable,
    positives: RowPositives | None,
    corpus: CorpusRecipe,
    languages: Sequence[str],
) -> _Graded | Refusal:
    grade = row.columns.get(table.grade_column)
    if isinstance(grade, bool) or not isinstance(grade, int | float) or not math.isfinite(grade):
        return row.refused("no_grade", f"{table.grade_column} is {str(grade)[:40]!r}")
    if not 0 <= grade <= MAX_GRADE:
        return row.refused("no_grade", f"{grade} is not from 0 to {MAX_GRADE:g}")
    if positives is not None:
        text = exemplar(row, positives, corpus, languages)
        if isinstance(text, Refusal):
            return text
        return _Graded(grade=float(grade), row=row, key=None, text=text)
    key = []
    for name in _key_columns(table):
        value = row.columns.get(name)
        if not isinstance(value, str) or not value:
            return row.refused("missing_columns", f"{name} is {str(value)[:40]!r}")
        key.append(value)
    return _Graded(grade=float(grade), row=row, key=tuple(key), text=None)


def _key_columns(table: GradeTable) -> tuple[str, ...]:
    columns = (table.text_id_column, table.repository_column, table.path_column)
    return tuple(name for name in columns if name is not None)


def _documents(
    keys: set[Key], table: GradeTable, clean_folders: Sequence[str]
) -> dict[Key, dict[str, Any]]:
    """The kept documents that rows name; a path of several languages or sources is the first."""
    if not keys:
        return {}
    names = ["text_id"] if table.text_id_column else ["repository", "path"]
    named = pl.DataFrame(sorted(keys), schema=dict.fromkeys(names, pl.String), orient="row")
    columns = ["text_id", "repository", "path", "language", "split"]
    documents: dict[Key, dict[str, Any]] = {}
    for folder in clean_folders:
        matching = (
            kept_rows(folder, ["document_id", *columns], split=None)
            .join(named, on=names, how="semi", maintain_order="left")
            .select("document_id")
        )
        if matching.is_empty():
            continue
        for batch in kept_documents(
            folder, split=None, columns=(*columns, "text"), matching=matching
        ):
            for row in batch.to_pylist():
                documents.setdefault(tuple(row[name] for name in names), row)
    return documents
