"""Shards of `documents`, and the tables that stand beside them row by row.

Clusters, hits and decisions are written one shard per shard of documents, and its record says
which (`beside`). So a stage joins them by position, a shard at a time, at any size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from snow_assets import shards


@dataclass(frozen=True, kw_only=True)
class DocumentShard:
    """A shard of a finished `documents` generation; all its rows are of one language."""

    folder: str
    name: str
    language: str
    num_rows: int

    @property
    def key(self) -> str:
        """Source, generation and file: the same wherever the lake lies."""
        return "/".join(self.folder.rstrip("/").rsplit("/", 2)[1:] + [self.name])

    @property
    def beside(self) -> Mapping[str, Any]:
        """The facts of a shard that stands beside this one."""
        return {"documents": self.key, "language": self.language}

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        return shards.read_shard(self.folder, self.name, columns=columns)


def document_shards(folders: Sequence[str], *, language: str | None = None) -> list[DocumentShard]:
    """The shards of `documents` generations, of one language or all, folder by folder."""
    return [
        DocumentShard(
            folder=folder,
            name=entry.name,
            language=entry.facts["language"],
            num_rows=entry.num_rows or 0,
        )
        for folder in folders
        for entry in shards.manifest(folder).tables("documents")
        if language in (None, entry.facts["language"])
    ]


def beside(folders: Sequence[str], table: str) -> dict[str, tuple[str, str]]:
    """Key of a shard of documents -> folder and name of the shard of `table` beside it."""
    return {
        entry.facts["documents"]: (folder, entry.name)
        for folder in folders
        for entry in shards.manifest(folder).tables(table)
    }
