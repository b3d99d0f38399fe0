"""Traces of opted-out repositories in the lake: shards, scores, synthetic data, checkpoints.

All finished artifacts of all recipes are searched, by columns without text.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.corpus.ingested_names import purged_folders, with_ingested_names
from snow_assets.corpus.opt_outs import is_listed
from snow_assets.stages import Partitions, Stage, StageTable
from snow_assets.storage import shards
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.schemas import DOCUMENT, RAW_FILE, SCORE, SEEN, SYNTHETIC_DOCUMENT


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Rows of an artifact that originate from opted-out repositories."""

    asset: str
    partition: str
    generation: str
    shards: tuple[str, ...]
    num_rows: int
    num_tokens: int  # 0 if the table has no token counts
    damage: str = ""  # why a shard cannot be read: it may hold such rows


def traces(lake: str, names: Iterable[str], stages: Iterable[Stage]) -> list[Trace]:
    """Find all traces of the listed repositories, in the order of the stages.

    A score belongs to a text: it is reported if no other repository holds the same text.
    """
    listed = frozenset(names)
    if not listed:
        return []
    stages = list(stages)
    traced: list[Trace] = []
    listed_by_source = _listed_by_source(lake, listed, stages)
    rows_of = _Repositories(listed.union(*listed_by_source.values()))
    for stage in stages:
        for table in stage.tables:
            if table.repository_column is None:
                continue
            for folder in finished(lake, stage.name):
                rows = _TraceCounter(folder)
                # The same name in another source may be another repository.
                of_source = stage.partitions is Partitions.SOURCES
                source_names = (
                    listed_by_source.get(_partition(folder), listed) if of_source else None
                )
                for name, batch in _readable_shards(
                    folder, table.name, table.repository_column, rows
                ):
                    rows.add(name, rows_of.listed_in(batch, table, source_names))
                traced += rows.trace()
    return [*traced, *_score_traces(lake, rows_of.texts - rows_of.other_texts, stages)]


@dataclass
class _Repositories:
    """The listed repositories, with the texts and synthetic documents derived from them."""

    listed: frozenset[str]
    texts: set[str] = field(default_factory=set)
    other_texts: set[str] = field(default_factory=set)  # that another repository holds, too
    children: set[str] = field(
        default_factory=set
    )  # synthetic documents with a seed in their files

    def listed_in(
        self, batch: pa.Table, table: StageTable, listed: frozenset[str] | None
    ) -> pa.Table:
        """The rows of a table that originate from the listed repositories, or from `listed`."""
        names = self.listed if listed is None else listed
        mask = [is_listed(name, names) for name in batch[table.repository_column].to_pylist()]
        if table.schema is SEEN:
            ids = batch["document_id"].to_pylist()
            mask = [is_own or name in self.children for is_own, name in zip(mask, ids, strict=True)]
        rows = batch.filter(pa.array(mask, pa.bool_()))
        if table.schema is SYNTHETIC_DOCUMENT:
            self.children.update(rows["document_id"].to_pylist())
        if table.schema is DOCUMENT:
            self.texts.update(rows["text_id"].to_pylist())
            other_rows = batch.filter(pa.array([not is_own for is_own in mask], pa.bool_()))
            self.other_texts.update(other_rows["text_id"].to_pylist())
        return rows


def _listed_by_source(
    lake: str, listed: frozenset[str], stages: Iterable[Stage]
) -> dict[str, frozenset[str]]:
    """Source -> the list with the names that its rows have for listed repositories.

    Of all raw artifacts, purged ones included: what was made from them may be left.
    """
    folders: dict[str, list[str]] = {}
    for stage in stages:
        if any(table.schema is RAW_FILE for table in stage.tables):
            for folder in (*finished(lake, stage.name), *purged_folders(lake, stage.name)):
                folders.setdefault(_partition(folder), []).append(folder)
    return {source: with_ingested_names(listed, group) for source, group in folders.items()}


def _partition(folder: str) -> str:
    return folder.rstrip("/").rsplit("/", 2)[1]


def _score_traces(lake: str, texts: set[str], stages: Iterable[Stage]) -> Iterator[Trace]:
    for stage in stages:
        for table in stage.tables:
            if table.schema is not SCORE:
                continue
            for folder in finished(lake, stage.name):
                rows = _TraceCounter(folder)
                for name, batch in _readable_shards(folder, table.name, "text_id", rows):
                    mask = [text_id in texts for text_id in batch["text_id"].to_pylist()]
                    rows.add(name, batch.filter(pa.array(mask, pa.bool_())))
                yield from rows.trace()


def finished(lake: str, asset: str) -> list[str]:
    """The finished artifacts of an asset, as URLs, by partition and name."""
    root = shards.join(lake, asset)
    folders = [
        shards.join(root, partition, generation)
        for partition in shards.names(root)
        for generation in shards.names(shards.join(root, partition))
    ]
    return [folder for folder in folders if shards.is_finished(folder)]


def markdown(found_traces: Sequence[Trace]) -> str:
    """The traces as a Markdown table."""
    if not found_traces:
        return "The lake holds nothing of the listed repositories."
    lines = [
        "| where | generation | shards | rows | tokens |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {trace.asset} [{trace.partition}] | `{trace.generation[:12]}` | {len(trace.shards)} "
        f"| {trace.num_rows:,}{', and what is damaged' if trace.damage else ''} "
        f"| {trace.num_tokens:,} |"
        for trace in found_traces
    ]
    return "\n".join(lines)


class _TraceCounter:
    """Counts an artifact's rows of opted-out repositories."""

    def __init__(self, folder: str) -> None:
        self._artifact = folder.rsplit("/", 3)[1:]
        self._shards: list[str] = []
        self._num_rows = self._num_tokens = 0
        self.damage = ""

    def add(self, shard: str, rows: pa.Table) -> None:
        if rows.num_rows:
            self._shards.append(shard)
            self._num_rows += rows.num_rows
            if "num_tokens" in rows.column_names:
                self._num_tokens += pc.sum(rows["num_tokens"]).as_py() or 0

    def trace(self) -> list[Trace]:
        asset, partition, generation = self._artifact
        if not self._num_rows and not self.damage:
            return []
        return [
            Trace(
                asset=asset,
                partition=partition,
                generation=generation,
                shards=tuple(self._shards),
                num_rows=self._num_rows,
                num_tokens=self._num_tokens,
                damage=self.damage,
            )
        ]


_COLUMNS = ("document_id", "text_id", "num_tokens")


def _readable_shards(
    folder: str, table: str, column: str, rows: _TraceCounter
) -> Iterator[tuple[str, Any]]:
    """Yield the shards of a table up to the first damaged one, which is recorded in `rows`."""
    try:
        yield from _shards(folder, table, column)
    except DamagedFileError as error:
        rows.damage = str(error)


def _shards(folder: str, table: str, column: str) -> Iterator[tuple[str, Any]]:
    for entry in shards.manifest(folder).tables(table):
        column_names = shards.columns(folder, entry.name)
        columns = [name for name in dict.fromkeys((column, *_COLUMNS)) if name in column_names]
        yield entry.name, shards.read_shard(folder, entry.name, columns=columns)
