"""Shards of `documents`, and tables that are co-partitioned with them.

Signatures, clusters, hits and decisions have one shard per shard of documents, with the key of
that shard in the shard's record. Stages join row-aligned tables shard by shard, at any size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from snow_assets.storage import shards


@dataclass(frozen=True, kw_only=True)
class DocumentShard:
    """A shard of a finished `documents` artifact; all its rows are in the same language."""

    folder: str
    name: str
    language: str
    num_rows: int

    @property
    def key(self) -> str:
        """Source, artifact and file name; independent of the lake's URL."""
        return "/".join(self.folder.rstrip("/").rsplit("/", 2)[1:] + [self.name])

    @property
    def co_partition_stats(self) -> Mapping[str, Any]:
        """The stats in the records of shards that are co-partitioned with this one."""
        return {"documents": self.key, "language": self.language}

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        return shards.read_shard(self.folder, self.name, columns=columns)


def document_shards(folders: Sequence[str], *, language: str | None = None) -> list[DocumentShard]:
    """The shards of `documents` artifacts, of a language or of all, folder by folder."""
    return [
        DocumentShard(
            folder=folder,
            name=entry.name,
            language=entry.stats["language"],
            num_rows=entry.num_rows or 0,
        )
        for folder in folders
        for entry in shards.manifest(folder).tables("documents")
        if language in (None, entry.stats["language"])
    ]


def co_partitioned(folders: Sequence[str], table: str) -> dict[str, tuple[str, str]]:
    """Key of a shard of documents -> folder and name of the co-partitioned shard of `table`."""
    return {
        entry.stats["documents"]: (folder, entry.name)
        for folder in folders
        for entry in shards.manifest(folder).tables(table)
    }
