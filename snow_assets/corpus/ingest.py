"""Ingest a source into shards: admitted files, and drops with their reasons.

Files keep the source's order. Its units are ingested in groups, each by a call that writes shards
of its own. A repository stays in one shard: if it does not fit into the current shard, the shard is
closed first; only a repository that alone exceeds `shard_bytes`, or that two groups hold, is split.
Memory: one shard and one file. Each shard stores the position where the group's next begins, so
that a killed ingest resumes there and produces the same bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.corpus.document_ids import DocumentIds
from snow_assets.corpus.raw_shards import (
    DROPS,
    FILES,
    Position,
    ingest_stats,
    put_drops,
    put_files,
)
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.same_documents import drop_same_documents
from snow_assets.corpus.source_rows import SAME_DOCUMENT, Gate, Row, same_document_row, source_rows
from snow_assets.corpus.sources import units
from snow_assets.corpus.unit_groups import UnitGroup, replacing_index, unit_groups
from snow_assets.corpus.untrusted import printable
from snow_assets.recipe import CorpusRecipe, Source
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.shard_work import write_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import RAW_FILE
from snow_assets.storage.urls import redact_urls


@dataclass
class _Shard:
    rows: list[Row] = field(default_factory=list)
    num_bytes: int = 0

    def extend(self, shard: "_Shard") -> None:
        self.rows += shard.rows
        self.num_bytes += shard.num_bytes


def ingest(
    folder: str,
    source: Source,
    *,
    recipe: CorpusRecipe,
    languages: Sequence[str],
    gate: Gate,
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Write the tables `files` and `drops` of a source; return the stats of all shards.

    Rows in = files + drops. Finished shards are not written again.
    """
    groups = unit_groups(units(source, languages=languages, recipe=recipe))
    write_shards(
        exchange,
        _ingest_group,
        groups,
        unit="parts of the source",
        folder=folder,
        source=source,
        recipe=recipe,
        languages=languages,
        gate=gate,
    )
    if len(groups) > 1:
        drop_same_documents(folder, source=source.name, languages=languages, exchange=exchange)
    return ingest_stats(folder)


def _ingest_group(
    group: UnitGroup,
    *,
    folder: str,
    source: Source,
    recipe: CorpusRecipe,
    languages: Sequence[str],
    gate: Gate,
) -> None:
    """Write the shards of a group of units, behind those that are finished."""
    finished, start = _resume(folder, group)
    if start is None:
        return
    number = len(finished)
    pending, current = _Shard(), _Shard()  # closed repositories; the repository being read
    current_start = start  # where `current` begins
    document_ids = DocumentIds(_admitted_ids(folder, finished))
    for position, source_row in source_rows(
        source, recipe, languages, gate, group=group, start=start
    ):
        row = _drop_if_duplicate(source_row, document_ids, source.name, languages)
        if current.rows and current.rows[0].repository != row.repository:
            pending.extend(current)
            current, current_start = _Shard(), position
        while (pending.rows or current.rows) and (
            pending.num_bytes + current.num_bytes + row.num_bytes > recipe.shard_bytes
        ):
            full, after = (pending, current_start) if pending.rows else (current, position)
            _put(folder, group.shard_index(number), full, after)
            number += 1
            if full is current:
                current, current_start = _Shard(), position
            pending = _Shard()
        current.rows.append(row)
        current.num_bytes += row.num_bytes
    pending.extend(current)
    _put(folder, group.shard_index(number), pending, None)


def _resume(folder: str, group: UnitGroup) -> tuple[list[int], Position | None]:
    """The indices of the group's finished shards, and the position in the source where the next one
    begins; None: the group was read to its end."""
    finished: list[int] = []
    position = (group.start, 0)
    while done := _finished_shard(folder, group, len(finished)):
        finished.append(shards.shard_index(done.name))
        if done.stats["next"] is None:
            return finished, None
        position = tuple(done.stats["next"])
    return finished, position


def _finished_shard(folder: str, group: UnitGroup, number: int) -> shards.FileRecord | None:
    """The record of a group's shard, or of the one that replaced it; None: neither is there."""
    index = group.shard_index(number)
    done = shards.record(folder, shards.table_name(FILES, index))
    if done is None and not group.is_only:
        done = shards.record(folder, shards.table_name(FILES, replacing_index(index)))
    return done


def _admitted_ids(folder: str, indices: Iterable[int]) -> Iterator[str]:
    """The documents of finished shards, with those that were admitted and moved to the drops."""
    for index in indices:
        files = shards.read_shard(folder, shards.table_name(FILES, index), columns=["document_id"])
        yield from files["document_id"].to_pylist()
        drops = shards.read_shard(
            folder, shards.table_name(DROPS, index), columns=["document_id", "reason"]
        )
        is_same = pc.equal(drops["reason"], SAME_DOCUMENT)
        yield from drops.filter(is_same)["document_id"].to_pylist()


def _drop_if_duplicate(
    row: Row, documents: DocumentIds, source: str, languages: Sequence[str]
) -> Row:
    """Return the row, or a drop if the same file of the same repository was admitted before."""
    if row.table != FILES or documents.add(row.columns["document_id"]):
        return row
    return same_document_row(row.columns, source, languages)


def _put(folder: str, index: int, shard: _Shard, after: Position | None) -> None:
    """Write a shard of both tables."""
    put_drops(folder, index, [row.columns for row in shard.rows if row.table == DROPS])
    admitted = [row for row in shard.rows if row.table == FILES]
    put_files(
        folder,
        index,
        pa.Table.from_pylist([dict(row.columns) for row in admitted], schema=RAW_FILE),
        languages=[row.language for row in admitted],
        names={row.repository: _recorded_names(row.names) for row in admitted},
        after=after,
    )


def _recorded_names(names: Sequence[str]) -> list[str]:
    """Canonical names: a remote's URL may hold a token, which must not reach the lake."""
    return list(dict.fromkeys(printable(redact_urls(canonical(name))) for name in names))
