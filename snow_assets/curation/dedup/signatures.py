"""MinHash bands and shingles of each distinct text of a source.

They do not depend on filters or thresholds: each text is read once, and later sources are compared
with the stored values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.dedup.shingles import bands_of, shingles_of
from snow_assets.curation.dedup.text_keys import text_keys
from snow_assets.curation.document_shards import DocumentShard, co_partitioned, document_shards
from snow_assets.curation.hashing import Hashes
from snow_assets.recipe import NearDuplicatesRecipe
from snow_assets.runtime.exchange.contract import MAX_PARTITIONS, Exchange, Partition
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import indices_in, range_of_indices, ranges_of
from snow_assets.runtime.exchange.shard_work import missing_shards, write_shards
from snow_assets.storage import shards

SHINGLES = pa.schema([pa.field("shingles", pa.binary(), nullable=False)])
"""Table `shingles`, row-aligned with `signatures`: sorted distinct values, uint32 little-endian.
Stored so that candidate pairs are verified without their texts (docs/decisions)."""


_ROW = pa.schema([("shard", pa.int32()), ("row", pa.int32()), ("text", pa.uint64())])
_FIRST_ROW = pa.schema([("group", pa.uint16()), ("shard", pa.int32()), ("row", pa.int32())])
_ROW_BYTES = 16


def signature_schema(bands: int) -> pa.Schema:
    """Table `signatures`: a row per distinct text, in the first shard that contains it."""
    return pa.schema(
        [
            pa.field("text_id", pa.string(), nullable=False),
            pa.field("num_shingles", pa.int64(), nullable=False),
            # uint64, little-endian; zeros for a text without shingles
            pa.field("bands", pa.binary(8 * bands), nullable=False),
        ]
    )


@dataclass(frozen=True)
class SignatureShard:
    """A shard of `signatures` and its row-aligned shard of `shingles`."""

    folder: str
    name: str

    def read(self, columns: Sequence[str]) -> pa.Table:
        return shards.read_shard(self.folder, self.name, columns=columns)

    def read_shingles(self) -> pa.ChunkedArray:
        """The column `shingles`: the shingles of a text, uint32 little-endian."""
        name = self.name.replace("signatures", "shingles")
        return shards.read_shard(self.folder, name)["shingles"]


def signature_shards(
    input_shards: Sequence[DocumentShard], folders: Sequence[str]
) -> list[SignatureShard]:
    """The signatures of each shard of documents; ValueError names a shard that has none."""
    shards_by_key = co_partitioned(folders, "signatures")
    for input_shard in input_shards:
        if input_shard.key not in shards_by_key:
            raise ValueError(
                f"{input_shard.key} has no signatures: its source has changed, materialize "
                "signatures again"
            )
    return [SignatureShard(*shards_by_key[input_shard.key]) for input_shard in input_shards]


def signature_folders(near_duplicates_folder: str) -> list[str]:
    """The `signatures` that a `near_duplicates` artifact was made from."""
    return [
        folder
        for verified_pairs in shards.input_folders(near_duplicates_folder, "verified_pairs")
        for folder in shards.input_folders(verified_pairs, "signatures")
    ]


def put_signatures(
    documents_folder: str,
    folder: str,
    *,
    recipe: NearDuplicatesRecipe,
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Write `signatures` and `shingles`, co-partitioned with the documents; return the stats.

    After a kill only shards without `signatures` are written. Memory: a shard with its text, or a
    partition with 16 bytes per document.
    """
    input_shards = document_shards([documents_folder])
    num_shards = len(input_shards)
    missing = missing_shards(folder, "signatures", range(num_shards))
    first_rows = _first_rows(input_shards, exchange) if missing else []
    groups: list[list[tuple[int, DocumentShard]]] = [[] for _ in first_rows]
    group_of = range_of_indices(np.arange(num_shards), len(groups), num_shards).tolist()
    for index in missing:
        groups[group_of[index]].append((index, input_shards[index]))
    write_shards(
        exchange,
        _put_shards,
        groups,
        first_rows,
        unit="groups of shards signed",
        folder=folder,
        recipe=recipe,
    )
    records = shards.records(folder, "signatures")
    return {
        "documents": sum(input_shard.num_rows for input_shard in input_shards),
        "texts": records.total("num_rows"),
        "shingles": sum(record.stats["shingles"] for record in records),
    }


def _first_rows(input_shards: Sequence[DocumentShard], exchange: Exchange) -> Sequence[Partition]:
    """The rows whose text no earlier row or shard contains, by ranges of shards."""
    num_bytes = _ROW_BYTES * sum(input_shard.num_rows for input_shard in input_shards)
    rows = exchange.by_key(
        exchange.map_shards(_rows, range(len(input_shards)), input_shards, schema=_ROW),
        ranges_of("text"),
        num_partitions=exchange.num_partitions(num_bytes),
    )
    num_groups = max(1, min(len(input_shards), MAX_PARTITIONS))
    first_rows = exchange.map_shards(
        _first_rows_in, rows, schema=_FIRST_ROW, num_groups=num_groups, num_shards=len(input_shards)
    )
    return exchange.by_key(first_rows, indices_in("group"), num_partitions=num_groups)


def _rows(index: int, input_shard: DocumentShard) -> pa.Table:
    keys = text_keys(input_shard.read(["text_id"])["text_id"])
    columns = [np.full(len(keys), index, np.int32), np.arange(len(keys), dtype=np.int32), keys]
    return pa.table([pa.array(column) for column in columns], schema=_ROW)


def _first_rows_in(rows: pa.Table, *, num_groups: int, num_shards: int) -> pa.Table:
    """The first row of each text of a partition, in which rows are in the order of the shards."""
    _, first = np.unique(rows["text"].to_numpy(), return_index=True)
    first_rows = rows.select(["shard", "row"]).take(pa.array(first))
    shard_indices = first_rows["shard"].to_numpy().astype(np.int64)
    groups = range_of_indices(shard_indices, num_groups, num_shards)
    return first_rows.add_column(0, _FIRST_ROW.field("group"), pa.array(groups))


def _put_shards(
    group: Sequence[tuple[int, DocumentShard]],
    first_rows: pa.Table,
    *,
    folder: str,
    recipe: NearDuplicatesRecipe,
) -> None:
    shard_indices, rows = first_rows["shard"].to_numpy(), first_rows["row"].to_numpy()
    order = np.lexsort((rows, shard_indices))
    shard_indices, rows = shard_indices[order], rows[order]
    for index, input_shard in group:
        first, last = np.searchsorted(shard_indices, [index, index + 1]).tolist()
        _put_shard(folder, index, input_shard, rows[first:last].astype(np.int64), recipe)


def _put_shard(
    folder: str,
    index: int,
    input_shard: DocumentShard,
    rows: npt.NDArray[np.int64],
    recipe: NearDuplicatesRecipe,
) -> None:
    table = input_shard.read(["text_id", "text"])
    if len(rows) < table.num_rows:
        table = table.take(pa.array(rows))
    counts = [np.zeros(0, dtype=np.int64)]
    bands = [np.zeros((0, recipe.bands), dtype=np.uint64)]
    shingles = []
    for texts in table["text"].chunks:
        values, sizes = shingles_of(texts, words=recipe.shingle_words)
        counts.append(sizes)
        bands.append(
            bands_of(values, sizes, bands=recipe.bands, rows_per_band=recipe.rows_per_band)
        )
        ends = np.concatenate([[0], np.cumsum(4 * sizes)]).astype(np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(values)]
        shingles.append(pa.Array.from_buffers(pa.binary(), len(sizes), buffers))
    sizes = np.concatenate(counts)
    schema = signature_schema(recipe.bands)
    columns = [
        table["text_id"],
        pa.array(sizes),
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(8 * recipe.bands),
            len(sizes),
            [None, pa.py_buffer(np.concatenate(bands))],
        ),
    ]
    # The signatures last: their record marks both tables as complete.
    shards.put_table(
        folder,
        "shingles",
        index,
        pa.table([pa.chunked_array(shingles, pa.binary())], schema=SHINGLES),
        SHINGLES,
        compression=None,  # uniform hashes do not compress
    )
    shards.put_table(
        folder,
        "signatures",
        index,
        pa.table(columns, schema=schema),
        schema,
        stats={**input_shard.co_partition_stats, "shingles": int(sizes.sum())},
        compression=None,
    )


def bands_in(column: pa.ChunkedArray) -> Hashes:
    """The column `bands` as hashes, (texts, bands)."""
    width = column.type.byte_width
    parts = [np.zeros(0, dtype=np.uint64)]
    for chunk in column.chunks:
        data = chunk.buffers()[1].slice(chunk.offset * width, len(chunk) * width)
        parts.append(np.frombuffer(data, dtype=np.uint64))
    return np.concatenate(parts).reshape(-1, width // 8)
