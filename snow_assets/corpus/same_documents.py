"""Drop documents that several groups of a source's units hold: the first in its order stays.

Within a group ingest drops them itself. Keys of all documents are exchanged, and the shards that
hold later ones are written again, without them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.raw_shards import DROPS, FILES, put_drops, put_files
from snow_assets.corpus.source_rows import same_document_row
from snow_assets.runtime.exchange.contract import Exchange, PartitionIndices
from snow_assets.runtime.exchange.partitions import range_of_indices, ranges_of
from snow_assets.runtime.exchange.shard_work import write_shards
from snow_assets.storage import shards
from snow_assets.storage.ids import first_64_bits

_PLACES = pa.schema([("document_key", pa.uint64()), ("shard", pa.int32()), ("row", pa.int32())])
"""A document's key, the position of its shard among those of `files`, and its row there."""
_LATER = pa.schema([_PLACES.field("shard"), _PLACES.field("row")])
_PLACE_BYTES = 16
_HAS_LATER_ROWS = "has_later_rows"
"""In the record of a shard of drops: it has the later documents, which its files may have, too."""


def drop_same_documents(
    folder: str, *, source: str, languages: Sequence[str], exchange: Exchange
) -> None:
    """Move later rows with a document_id from the table `files` of an ingested source to `drops`.

    A repeated call goes on where one was killed. Memory: that of the exchange, 100 bytes a shard,
    and a shard.
    """
    entries = shards.records(folder, FILES)
    names = [entry.name for entry in entries]
    num_partitions = exchange.num_partitions(entries.total("num_rows") * _PLACE_BYTES)
    places = exchange.by_key(
        exchange.map_shards(
            _document_places, names, range(len(names)), schema=_PLACES, folder=folder
        ),
        ranges_of("document_key"),
        num_partitions=num_partitions,
    )
    later = exchange.by_key(
        exchange.map_shards(_later_rows, places, schema=_LATER),
        partial(_group_of_shard, num_shards=len(names)),
        num_partitions=num_partitions,
    )
    write_shards(
        exchange,
        _move_from_shards,
        later,
        unit="parts of the source's later copies",
        folder=folder,
        names=names,
        source=source,
        languages=languages,
    )


def _document_places(name: str, shard: int, *, folder: str) -> pa.Table:
    ids = shards.read_shard(folder, name, columns=["document_id"])["document_id"]
    rows = np.arange(len(ids), dtype=np.int32)
    return pa.table([first_64_bits(ids), np.full_like(rows, shard), rows], schema=_PLACES)


def _later_rows(places: pa.Table) -> pa.Table:
    """The places of all documents of a partition but the first of each key."""
    _, first = np.unique(places["document_key"].to_numpy(), return_index=True)
    is_later = np.ones(places.num_rows, np.bool_)
    is_later[first] = False
    return places.select(_LATER.names).filter(pa.array(is_later))


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
    """Write a shard of both tables again; if the drops were before a kill, the files alone."""
    index = shards.shard_index(name)
    files = shards.read_shard(folder, name)
    is_later = np.zeros(files.num_rows, np.bool_)
    is_later[rows] = True
    drops_name = shards.table_name(DROPS, index)
    if _HAS_LATER_ROWS not in _stats(folder, drops_name):
        drops = shards.read_shard(folder, drops_name).to_pylist()
        for row in files.filter(pa.array(is_later)).to_pylist():
            drops.append(same_document_row(row, source, languages).columns)
        put_drops(folder, index, drops, **{_HAS_LATER_ROWS: True})
    stats = _stats(folder, name)
    kept = files.filter(pa.array(~is_later))
    put_files(
        folder,
        index,
        kept,
        languages=[candidates(path, languages)[0] for path in kept["path"].to_pylist()],
        names=stats["names"],
        after=stats["next"],
    )


def _stats(folder: str, name: str) -> Mapping[str, Any]:
    record = shards.record(folder, name)
    return {} if record is None else record.stats
