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
from snow_assets.curation.dedup.text_keys import TextKeys, text_keys
from snow_assets.curation.document_shards import DocumentShard, co_partitioned, document_shards
from snow_assets.curation.hashing import Hashes
from snow_assets.recipe import NearDuplicatesRecipe
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards

SHINGLES = pa.schema([pa.field("shingles", pa.binary(), nullable=False)])
"""Table `shingles`, row-aligned with `signatures`: sorted distinct values, uint32 little-endian.
Stored so that candidate pairs are verified without their texts (docs/decisions)."""


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
    documents_folder: str, folder: str, *, recipe: NearDuplicatesRecipe
) -> dict[str, Any]:
    """Write `signatures` and `shingles`, co-partitioned with the documents; return the stats.

    After a kill it resumes at the first shard without `signatures`. Memory: a shard with its
    text, and 16 bytes per document.
    """
    input_shards = document_shards([documents_folder])
    remaining = Remaining(len(input_shards), "shards signed")
    for index, (input_shard, rows) in enumerate(
        zip(input_shards, _first_rows(input_shards), strict=True)
    ):
        if shards.record(folder, shards.table_name("signatures", index)) is None:
            _put_shard(folder, index, input_shard, rows, recipe)
            remaining.advance()
        else:
            remaining.skip()
    records = [
        shards.record(folder, shards.table_name("signatures", i)) for i in range(len(input_shards))
    ]
    return {
        "documents": sum(input_shard.num_rows for input_shard in input_shards),
        "texts": sum(record.num_rows or 0 for record in records if record),
        "shingles": sum(record.stats["shingles"] for record in records if record),
    }


def _first_rows(input_shards: Sequence[DocumentShard]) -> list[npt.NDArray[np.int64]]:
    """For each shard the rows whose text no earlier row or shard contains."""
    keys: list[TextKeys] = [np.zeros(0, dtype=np.uint64)]
    keys += [text_keys(input_shard.read(["text_id"])["text_id"]) for input_shard in input_shards]
    _, first_indices = np.unique(np.concatenate(keys), return_index=True)
    ends = np.cumsum([len(shard_keys) for shard_keys in keys])
    parts = np.split(np.sort(first_indices), np.searchsorted(np.sort(first_indices), ends[:-1]))
    return [rows - start for rows, start in zip(parts[1:], ends[:-1], strict=True)]


def _put_shard(
    folder: str,
    index: int,
    input_shard: DocumentShard,
    rows: npt.NDArray[np.int64],
    recipe: NearDuplicatesRecipe,
) -> None:
    table = input_shard.read(["text_id", "text"])
    if len(rows) < table.num_rows:
        table = table.take(rows)
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
