"""Export a data set folder: text, data card, attribution.

In the lake, text is stored once, in `documents`. An export is a copy of it for users without access
to the lake, with the attribution that the licences require. `datasets.load_dataset(folder)` reads
it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import markdown
from snow_assets.corpus.license_texts import license_text
from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.curation.split import HELD_OUT, TRAIN
from snow_assets.storage import shards

COLUMNS = (
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
"""Columns of an exported document."""
SOURCE_COLUMNS = ("repository", "revision", "license")
_SHARD_BYTES = 256_000_000


def export_clean(clean_folder: str, folder: str, *, language: str) -> dict[str, Any]:
    """Export the kept documents of a `clean_corpus` artifact, train and held out separately."""
    sources = kept_rows(clean_folder, SOURCE_COLUMNS, split=None)
    return export_dataset(
        folder,
        title=f"Clean {language} corpus",
        description=(
            f"Source files in {language} under permissive licences: secrets redacted, "
            "StarCoder2's filters applied, exact and near duplicates removed, benchmark problems "
            "removed. "
            "`held_out` comes from repositories of which nothing is in `train`."
        ),
        splits={
            split: kept_documents(clean_folder, split=split, columns=COLUMNS)
            for split in (TRAIN, HELD_OUT)
        },
        sources=sources,
        notices=repository_notices(sources["repository"], clean_folder),
    )


def export_dataset(
    folder: str,
    *,
    title: str,
    description: str,
    splits: Mapping[str, Iterable[pa.RecordBatch]],
    sources: pl.DataFrame,
    notices: Mapping[str, Sequence[str]],
    sections: str = "",
) -> dict[str, Any]:
    """Write each split as Parquet, README.md (the data card) and ATTRIBUTION.md; return counts.

    `sources` has a row per exported document with SOURCE_COLUMNS; `notices` are copyright notices
    by repository; `sections` is Markdown at the end of the card. A split without rows is omitted.
    Memory: about 256 MB of text. Existing shards are not rewritten.
    """
    counts: Counter[str] = Counter()
    for split, batches in splits.items():
        for index, table in enumerate(_tables(batches)):
            counts[split] += table.num_rows
            if shards.record(folder, shards.table_name(split, index)) is None:
                shards.put_table(folder, split, index, table, table.schema)
    card = _card(title, description, counts, sources, sections)
    shards.put_file(folder, "README.md", card.encode())
    shards.put_file(folder, "ATTRIBUTION.md", _attribution(title, sources, notices).encode())
    return {f"{split}_documents": counts[split] for split in splits}


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.Table]:
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        pending.append(batch)
        if sum(batch.nbytes for batch in pending) >= _SHARD_BYTES:
            yield pa.Table.from_batches(pending)
            pending = []
    if pending:
        yield pa.Table.from_batches(pending)


def _card(
    title: str, description: str, counts: Mapping[str, int], sources: pl.DataFrame, sections: str
) -> str:
    header = ["---", f"pretty_name: {json.dumps(title)}", "license: other", "license_name: various"]
    header += ["license_link: ATTRIBUTION.md", "task_categories:", "- text-generation"]
    # Without `configs`, `datasets` infers the files and reads the manifest as data.
    header += ["configs:", "- config_name: default"]
    files = [f"  - split: {name}\n    path: {name}-*.parquet" for name in counts if counts[name]]
    header += ["  data_files:", *files] if files else ["  data_files: []"]
    lines = [*header, "---", "", f"# {title}", "", description, ""]
    lines += ["| split | documents |", "| --- | ---: |"]
    lines += [f"| {split} | {count} |" for split, count in counts.items()]
    lines += ["", "| licence | documents |", "| --- | ---: |"]
    licenses = sources.group_by("license").len().sort("license")
    lines += [f"| {name} | {count} |" for name, count in licenses.iter_rows()]
    num_repositories = sources["repository"].n_unique()
    lines += [
        "",
        f"{num_repositories} repositories; `ATTRIBUTION.md` names each with its licence.",
        "",
    ]
    return "\n".join(lines) + sections


def repository_notices(repositories: pl.Series, *clean_folders: str) -> dict[str, list[str]]:
    """The copyright notices of these repositories' licence files, from the raw files of the sources
    of `clean_corpus` artifacts.

    A source that is no longer in the lake has none. Memory: the notices of these repositories, and
    a shard's names and notices.
    """
    wanted_repositories = repositories.unique().to_arrow()
    notices: dict[str, dict[str, None]] = {}
    documents_folders = [
        folder for clean in clean_folders for folder in shards.input_folders(clean, "documents")
    ]
    for documents_folder in dict.fromkeys(documents_folders):
        for raw_folder in shards.input_folders(documents_folder, "raw_code_corpus"):
            if not shards.is_finished(raw_folder):
                continue
            for entry in shards.manifest(raw_folder).tables("files"):
                table = shards.read_shard(
                    raw_folder, entry.name, columns=["repository", "copyright_notices"]
                )
                is_wanted = pc.is_in(table["repository"], value_set=wanted_repositories)
                for row in table.filter(is_wanted).to_pylist():
                    repository_lines = notices.setdefault(row["repository"], {})
                    repository_lines.update(dict.fromkeys(row["copyright_notices"] or ()))
    return {repository: list(lines) for repository, lines in notices.items()}


def _attribution(title: str, sources: pl.DataFrame, notices: Mapping[str, Sequence[str]]) -> str:
    counts = sources.group_by(SOURCE_COLUMNS).len().sort(SOURCE_COLUMNS).rows()
    lines = [f"# Attribution: {title}", "", "| repository | revision | licence | files |"]
    lines += ["| --- | --- | --- | ---: |"]
    lines += [
        f"| {' | '.join(markdown.cell(value) for value in names)} | {count} |"
        for *names, count in counts
    ]
    lines += ["", "## Copyright notices", ""]
    lines += ["Of the repositories' licence files; those of single files stand in their texts.", ""]
    for repository in sources["repository"].unique().sort():
        own_notices = [markdown.cell(notice) for notice in notices.get(repository, ())]
        lines += [
            f"- {markdown.cell(repository)}: {'; '.join(own_notices) or 'none in a licence file'}"
        ]
    identifiers = {part for name in sources["license"].unique() for part in name.split(" AND ")}
    for identifier in sorted(identifiers):
        lines += ["", f"## {markdown.cell(identifier)}", "", *_license_text(identifier)]
    return "\n".join([*lines, ""])


def _license_text(identifier: str) -> list[str]:
    """A licence's text as a block of Markdown, or its URL."""
    text = license_text(identifier)
    if text is None:
        return [f"https://spdx.org/licenses/{markdown.cell(identifier)}.html"]
    return ["```text", *text.rstrip().splitlines(), "```"]
