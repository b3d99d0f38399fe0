"""Write tables of rows with texts."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from snow_assets.storage import shards

_SHARD_CHARS = 64_000_000


def put_texts(
    folder: str, table: str, rows: Iterable[Mapping[str, Any]], schema: pa.Schema
) -> None:
    """Write the rows' columns of a schema with `text` in shards of about 64 MB; without rows none.

    Memory: a shard's rows.
    """
    index, shard, size = 0, [], 0
    for row in rows:
        shard.append({name: row[name] for name in schema.names})
        size += len(row["text"])
        if size >= _SHARD_CHARS:
            shards.put_table(folder, table, index, shard, schema)
            index, shard, size = index + 1, [], 0
    if shard:
        shards.put_table(folder, table, index, shard, schema)
