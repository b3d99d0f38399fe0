"""Drop documents that several groups of a source's units hold: the first in its order stays.

Within a group ingest drops them itself. Keys of all documents are exchanged, and the shards that
hold later ones are replaced by shards without them, under another index: a file with a record is
never written anew, so that a kill leaves none that differs from its record.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.raw_shards import DROPS, FILES, put_drops, put_files
from snow_assets.corpus.source_rows import same_document_row
from snow_assets.corpus.unit_groups import replaced_index, replacing_index
from snow_assets.runtime.exchange.contract import Exchange, PartitionIndices
from snow_assets.runtime.exchange.partitions import range_of_indices, ranges_of
from snow_assets.runtime.exchange.shard_work import write_shards
from snow_assets.storage import shards
from snow_assets.storage.ids import first_64_bits

_POSITIONS = pa.schema([("document_key", pa.uint64()), ("shard", pa.int32()), ("row", pa.int32())])
"""A document's key, the position of its shard among those of `files`, and its row there."""
_LATER = pa.schema([_POSITIONS.field("shard"), _POSITIONS.field("row")])
_POSITION_BYTES = 16


def drop_same_documents(
    folder: str, *, source: str, languages: Sequence[str], exchange: Exchange
) -> None:
    """Move later rows with a document_id from the table `files` of an ingested source to `drops`.

    A repeated call goes on where one was killed. Memory: that of the exchange, 100 bytes a shard,
    and a shard.
    """
    _remove_replaced_shards(folder)
    entries = shards.records(folder, FILES)
    names = [entry.name for entry in entries]
    num_partitions = exchange.num_partitions(entries.total("num_rows") * _POSITION_BYTES)
    positions = exchange.by_key(
        exchange.map_shards(
            _document_positions, names, range(len(names)), schema=_POSITIONS, folder=folder
        ),
        ranges_of("document_key"),
        num_partitions=num_partitions,
    )
    later = exchange.by_key(
        exchange.map_shards(_later_rows, positions, schema=_LATER),
        partial(_group_of_shard, num_shards=len(names)),
        num_partitions=num_partitions,
    )
    write_shards(
        exchange,
        _move_from_shards,
        later,
        unit="partitions of later documents",
        folder=folder,
        names=names,
        source=source,
        languages=languages,
    )
    # Only now, since a lost node's documents are read again.
    _remove_replaced_shards(folder)


def _document_positions(name: str, shard: int, *, folder: str) -> pa.Table:
    ids = shards.read_shard(folder, name, columns=["document_id"])["document_id"]
    rows = np.arange(len(ids), dtype=np.int32)
    return pa.table([first_64_bits(ids), np.full_like(rows, shard), rows], schema=_POSITIONS)


def _later_rows(positions: pa.Table) -> pa.Table:
    """The positions of all documents of a partition but the first of each key."""
    _, first = np.unique(positions["document_key"].to_numpy(), return_index=True)
    is_later = np.ones(positions.num_rows, np.bool_)
    is_later[first] = False
    return positions.select(_LATER.names).filter(pa.array(is_later))


def _group_of_shard(table: pa.Table, num_partitions: int, *, num_shards: int) -> PartitionIndices:
    return range_of_indices(table["shard"].to_numpy(), num_partitions, num_shards)


def _move_from_shards(
    later: pa.Table, *, folder: str, names: Sequence[str], source: str, languages: Sequence[str]
) -> None:
    shard_of_row, rows = later["shard"].to_numpy(), later["row"].to_numpy()
    for shard in np.unique(shard_of_row).tolist():
        _move_rows(folder, names[shard], rows[shard_of_row == shard], source, languages)


def _move_rows(
    folder: str, name: str, rows: npt.NDArray[np.int32], source: str, languages: Sequence[str]
) -> None:
    """Write what repositions a shard of both tables, unless an earlier call did."""
    index = shards.shard_index(name)
    record = shards.record(folder, name)
    if shards.record(folder, shards.table_name(FILES, replacing_index(index))) is None and record:
        files = shards.read_shard(folder, name)
        is_later = np.zeros(files.num_rows, np.bool_)
        is_later[rows] = True
        drops = shards.read_shard(folder, shards.table_name(DROPS, index)).to_pylist()
        for row in files.filter(pa.array(is_later)).to_pylist():
            drops.append(same_document_row(row, source, languages).columns)
        put_drops(folder, replacing_index(index), drops)
        first = files.filter(pa.array(~is_later))
        put_files(
            folder,
            replacing_index(index),
            first,
            languages=[candidates(path, languages)[0] for path in first["path"].to_pylist()],
            names=record.stats["names"],
            after=record.stats["next"],
        )


def _remove_replaced_shards(folder: str) -> None:
    """Remove the shards that others replace."""
    indices = [shards.shard_index(entry.name) for entry in shards.records(folder, FILES)]
    replaced = [index for index in map(replaced_index, indices) if index is not None]
    names = [shards.table_name(table, index) for index in replaced for table in (FILES, DROPS)]
    for name in shards.finished_files(folder, names):
        _remove_shard(folder, shards.shard_index(name))


def _remove_shard(folder: str, index: int) -> None:
    """Records last: by them what is left after a kill is found."""
    names = [shards.table_name(table, index) for table in (FILES, DROPS)]
    for url in (*names, *map(shards.record_name, names)):
        shards.remove(shards.join(folder, url))
