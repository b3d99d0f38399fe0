"""Documents of a source in; the MinHash bands and the shingles of each distinct text, out.

No rule and no threshold is asked here: a text is read once, whatever becomes of it, and later
sources are compared with what is stored.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets import shards
from snow_assets.curation.document_shards import DocumentShard, document_shards
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.shingles import bands_of, shingles_of
from snow_assets.curation.text_keys import TextKeys, text_keys
from snow_assets.recipe import NearDuplicatesRecipe
from snow_assets.remaining import Remaining

SHINGLES = pa.schema([pa.field("shingles", pa.binary(), nullable=False)])
"""Table `shingles`, row by row beside `signatures`: sorted distinct values, uint32 little-endian.
Kept so that a candidate pair is verified without its texts (docs/decisions)."""


def signature(bands: int) -> pa.Schema:
    """Table `signatures`: a row per text, in the first shard that has it."""
    return pa.schema(
        [
            pa.field("text_id", pa.string(), nullable=False),
            pa.field("num_shingles", pa.int64(), nullable=False),
            # uint64, little-endian; zeros without a shingle, and then there is no near copy
            pa.field("bands", pa.binary(8 * bands), nullable=False),
        ]
    )


def put_signatures(
    documents_folder: str, folder: str, *, recipe: NearDuplicatesRecipe
) -> dict[str, Any]:
    """Write `signatures` and `shingles`, a shard beside each shard of documents; the facts.

    Killed and started again, it goes on with the first shard whose `signatures` are missing.
    Memory: a shard with its text, and 16 bytes per document.
    """
    sources = document_shards([documents_folder])
    remaining = Remaining(len(sources), "shards signed")
    for index, (source, rows) in enumerate(zip(sources, _first_rows(sources), strict=True)):
        if shards.record(folder, shards.table_name("signatures", index)) is None:
            _put_shard(folder, index, source, rows, recipe)
            remaining.advance()
        else:
            remaining.skip()
    done = [shards.record(folder, shards.table_name("signatures", i)) for i in range(len(sources))]
    return {
        "documents": sum(source.num_rows for source in sources),
        "texts": sum(record.num_rows or 0 for record in done if record),
        "shingles": sum(record.facts["shingles"] for record in done if record),
    }


def _first_rows(sources: Sequence[DocumentShard]) -> list[npt.NDArray[np.int64]]:
    """Of each shard the rows whose text no shard or row before them has."""
    keys: list[TextKeys] = [np.zeros(0, dtype=np.uint64)]
    keys += [text_keys(source.read(["text_id"])["text_id"]) for source in sources]
    _, firsts = np.unique(np.concatenate(keys), return_index=True)
    ends = np.cumsum([len(part) for part in keys])
    parts = np.split(np.sort(firsts), np.searchsorted(np.sort(firsts), ends[:-1]))
    return [rows - start for rows, start in zip(parts[1:], ends[:-1], strict=True)]


def _put_shard(
    folder: str,
    index: int,
    source: DocumentShard,
    rows: npt.NDArray[np.int64],
    recipe: NearDuplicatesRecipe,
) -> None:
    table = source.read(["text_id", "text"])
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
    schema = signature(recipe.bands)
    columns = [
        table["text_id"],
        pa.array(sizes),
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(8 * recipe.bands),
            len(sizes),
            [None, pa.py_buffer(np.concatenate(bands))],
        ),
    ]
    # The signatures last, so that their record says that both are there.
    shards.put_table(
        folder,
        "shingles",
        index,
        pa.table([pa.chunked_array(shingles, pa.binary())], schema=SHINGLES),
        SHINGLES,
        compression=None,  # evenly spread values: there is nothing to gain
    )
    shards.put_table(
        folder,
        "signatures",
        index,
        pa.table(columns, schema=schema),
        schema,
        facts={**source.beside, "shingles": int(sizes.sum())},
        compression=None,
    )


def bands_in(column: pa.ChunkedArray) -> Hashes:
    """The column `bands` as a row of hashes per text."""
    width = column.type.byte_width
    parts = [np.zeros(0, dtype=np.uint64)]
    for chunk in column.chunks:
        data = chunk.buffers()[1].slice(chunk.offset * width, len(chunk) * width)
        parts.append(np.frombuffer(data, dtype=np.uint64))
    return np.concatenate(parts).reshape(-1, width // 8)
