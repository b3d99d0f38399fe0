"""Traces of opted-out repositories in the lake: shards, scores, synthetic data, checkpoints.

All finished artifacts of all recipes are searched, by columns without text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from snow_assets.corpus.ingested_names import purged_folders, with_ingested_names
from snow_assets.corpus.opt_outs import is_listed
from snow_assets.stages import Partitions, Stage, StageTable
from snow_assets.storage import shards
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.lake_folders import artifact_folders
from snow_assets.storage.schemas.corpus import RAW_FILE
from snow_assets.storage.schemas.curation import DOCUMENT
from snow_assets.storage.schemas.pretraining import SEEN
from snow_assets.storage.schemas.quality import SCORE
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Rows of an artifact that originate from opted-out repositories."""

    asset: str
    partition: str
    fingerprint: str
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
    repositories = _Repositories(listed, _listed_by_source(lake, listed, stages))
    traced = [
        trace
        for stage, table, folder in _artifacts(lake, stages)
        for trace in repositories.trace(stage, table, folder)
    ]
    for stage, table, folder in _artifacts(lake, stages):
        if table.schema is DOCUMENT:
            repositories.leave_out_shared_texts(stage, table, folder)
    return [
        *traced,
        *_score_traces(lake, pl.Series(list(repositories.texts), dtype=pl.String), stages),
    ]


def _artifacts(lake: str, stages: Iterable[Stage]) -> Iterator[tuple[Stage, StageTable, str]]:
    """The finished artifacts with rows of repositories: stage, table and folder."""
    for stage in stages:
        for table in stage.tables:
            if table.repository_column is not None:
                yield from ((stage, table, folder) for folder in finished(lake, stage.name))


@dataclass
class _Repositories:
    """The listed repositories, with the texts and synthetic documents derived from them."""

    listed: frozenset[str]
    listed_by_source: Mapping[str, frozenset[str]]
    texts: set[str] = field(default_factory=set)
    children: set[str] = field(
        default_factory=set
    )  # synthetic documents with a seed in their files

    def trace(self, stage: Stage, table: StageTable, folder: str) -> list[Trace]:
        """The trace in an artifact; notes the texts and synthetic documents of its rows."""
        counter = _TraceCounter(folder)
        for name, rows in _readable_shards(folder, table.name, table.repository_column, counter):
            is_own = self._is_own(stage, table, folder, rows)
            if table.schema is SEEN:
                is_own |= rows["document_id"].is_in(list(self.children))
            own_rows = rows.filter(is_own)
            if table.schema is SYNTHETIC_DOCUMENT:
                self.children.update(own_rows["document_id"])
            if table.schema is DOCUMENT:
                self.texts.update(own_rows["text_id"])
            counter.add(name, own_rows)
        return counter.trace()

    def leave_out_shared_texts(self, stage: Stage, table: StageTable, folder: str) -> None:
        """Forget the texts that an artifact's other repositories hold, too."""
        counter = _TraceCounter(folder)
        for _, rows in _readable_shards(folder, table.name, table.repository_column, counter):
            unlisted_rows = rows.filter(~self._is_own(stage, table, folder, rows))
            self.texts.difference_update(unlisted_rows["text_id"])

    def _is_own(
        self, stage: Stage, table: StageTable, folder: str, rows: pl.DataFrame
    ) -> pl.Series:
        # The same name in another source may be another repository.
        if stage.partitions is Partitions.SOURCES:
            names = self.listed_by_source.get(_partition(folder), self.listed)
        else:
            names = self.listed.union(*self.listed_by_source.values())
        repositories = rows[table.repository_column or ""]
        return repositories.is_in(
            [name for name in repositories.unique() if is_listed(name, names)]
        )


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


def _score_traces(lake: str, texts: pl.Series, stages: Iterable[Stage]) -> Iterator[Trace]:
    for stage in stages:
        for table in stage.tables:
            if table.schema is not SCORE:
                continue
            for folder in finished(lake, stage.name):
                counter = _TraceCounter(folder)
                for name, rows in _readable_shards(folder, table.name, "text_id", counter):
                    counter.add(name, rows.filter(rows["text_id"].is_in(texts)))
                yield from counter.trace()


def finished(lake: str, asset: str) -> list[str]:
    """The finished artifacts of an asset, as URLs, by partition and name."""
    return [folder for folder in artifact_folders(lake, asset) if shards.is_finished(folder)]


def markdown(found_traces: Sequence[Trace]) -> str:
    """The traces as a Markdown table."""
    if not found_traces:
        return "The lake holds nothing of the listed repositories."
    lines = [
        "| where | fingerprint | shards | rows | tokens |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {trace.asset} [{trace.partition}] | `{trace.fingerprint[:12]}` | {len(trace.shards)} "
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

    def add(self, shard: str, rows: pl.DataFrame) -> None:
        if rows.height:
            self._shards.append(shard)
            self._num_rows += rows.height
            if "num_tokens" in rows.columns:
                self._num_tokens += int(rows["num_tokens"].sum())

    def trace(self) -> list[Trace]:
        asset, partition, fingerprint = self._artifact
        if not self._num_rows and not self.damage:
            return []
        return [
            Trace(
                asset=asset,
                partition=partition,
                fingerprint=fingerprint,
                shards=tuple(self._shards),
                num_rows=self._num_rows,
                num_tokens=self._num_tokens,
                damage=self.damage,
            )
        ]


_COLUMNS = ("document_id", "text_id", "num_tokens")


def _readable_shards(
    folder: str, table: str, column: str | None, counter: _TraceCounter
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the shards of a table up to the first damaged one, which is recorded in `counter`."""
    try:
        for entry in shards.manifest(folder).tables(table):
            column_names = shards.columns(folder, entry.name)
            columns = [name for name in column_names if name in (column, *_COLUMNS)]
            yield entry.name, pl.DataFrame(shards.read_shard(folder, entry.name, columns=columns))
    except DamagedFileError as error:
        counter.damage = str(error)
