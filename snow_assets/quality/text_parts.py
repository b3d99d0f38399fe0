"""The kept train texts of a language in parts of equal size, which scoring workers share out.

A document is a text here: deduplication keeps one document of a text. Held-out documents, which are
for evaluation, are in no part. Ids are SHA-256 values of 32 bytes in memory.
"""

import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.dedup.text_keys import TextKeys
from snow_assets.curation.kept import kept_shard
from snow_assets.storage import shards
from snow_assets.storage.ids import id_chars

TextIds = npt.NDArray[np.uint8]
"""Ids of texts, (texts, 32)."""

BLOCK_TEXTS = 2_000_000
_ID_BYTES = 32


def text_id_bytes(text_ids: pa.ChunkedArray) -> TextIds:
    """A column of ids in hexadecimal as bytes."""
    content = binascii.unhexlify(id_chars(text_ids).tobytes())
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, _ID_BYTES)


def as_text_ids(ids: TextIds) -> list[str]:
    """The inverse of `text_id_bytes`."""
    return [row.tobytes().hex() for row in ids]


def id_keys(ids: TextIds) -> TextKeys:
    """The keys (see `text_keys`) of ids."""
    return np.ascontiguousarray(ids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


@dataclass(frozen=True)
class TextParts:
    """Parts of a clean corpus's kept train texts, in its order; from the manifest alone."""

    clean_folder: str
    part_texts: int
    decisions: Sequence[shards.FileRecord] = field(repr=False)
    _ends: Sequence[int] = field(repr=False)  # of each shard of decisions, in texts

    @classmethod
    def of(cls, clean_folder: str, part_texts: int) -> "TextParts":
        decisions = shards.manifest(clean_folder).tables("decisions")
        counts = [entry.stats["counts"].get("train_documents", 0) for entry in decisions]
        return cls(clean_folder, part_texts, decisions, list(accumulate(counts)))

    @property
    def num_texts(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def num_parts(self) -> int:
        """At least one: without texts there is one empty part."""
        return max(1, -(-self.num_texts // self.part_texts))

    def of_worker(self, worker: int, num_workers: int) -> range:
        """The parts of one of several workers: adjacent ones, so that it reads few shards that
        another reads, too."""
        bounds = [index * self.num_parts // num_workers for index in (worker, worker + 1)]
        return range(*bounds)

    def texts(self, index: int) -> range:
        """The texts of a part, counted from the beginning of the corpus."""
        start = index * self.part_texts
        return range(start, min(start + self.part_texts, self.num_texts))

    def blocks(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        """Divide parts into blocks of about `BLOCK_TEXTS` texts, whose ids are held in memory."""
        length = max(1, BLOCK_TEXTS // self.part_texts)
        for start in range(0, len(indices), length):
            yield indices[start : start + length]

    def slices(self, indices: Iterable[int]) -> Iterator[tuple[int, slice]]:
        """Each part, and its texts among those of these parts."""
        start = 0
        for index in indices:
            stop = start + len(self.texts(index))
            yield index, slice(start, stop)
            start = stop

    def text_ids(self, indices: Iterable[int]) -> TextIds:
        """The ids of the texts of ascending parts, in order."""
        tables = self.tables(indices, ["text_id"])
        ids = [text_id_bytes(table["text_id"]) for _, table in tables]
        return np.concatenate([np.zeros((0, _ID_BYTES), dtype=np.uint8), *ids])

    def tables(
        self, indices: Iterable[int], columns: Sequence[str]
    ) -> Iterator[tuple[int, pa.Table]]:
        """Each of some ascending parts with columns of its texts, strings; no shard is read twice.

        Memory: these columns of a part and of a shard of documents.
        """
        last: tuple[int, pa.Table] | None = None
        for index in indices:
            texts = self.texts(index)
            tables = [pa.schema([(name, pa.string()) for name in columns]).empty_table()]
            for shard in self._shards_of(texts):
                if last is None or last[0] != shard:
                    last = shard, self._kept_texts(shard, columns)
                first = self._ends[shard] - last[1].num_rows
                start, stop = max(texts.start, first), min(texts.stop, self._ends[shard])
                tables.append(last[1].slice(start - first, stop - start))
            yield index, pa.concat_tables(tables, promote_options="permissive")

    def _shards_of(self, texts: range) -> range:
        if not texts:
            return range(0)
        first, last = np.searchsorted(self._ends, [texts.start, texts.stop - 1], side="right")
        return range(int(first), int(last) + 1)

    def _kept_texts(self, shard: int, columns: Sequence[str]) -> pa.Table:
        entry = self.decisions[shard]
        table = kept_shard(self.clean_folder, entry, columns)
        num_texts = self._ends[shard] - (self._ends[shard - 1] if shard else 0)
        if table.num_rows != num_texts:
            raise ValueError(
                f"{self.clean_folder}/{entry.name} has {table.num_rows} kept train documents, and "
                f"its record counts {num_texts}: materialize clean_corpus again"
            )
        return table
