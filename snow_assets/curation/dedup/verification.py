"""Verify candidate pairs by the exact Jaccard similarity of their stored shingles.

Texts are not read.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import buffers
from snow_assets.curation.dedup.candidates import CandidatePairs
from snow_assets.curation.dedup.minhash import jaccards
from snow_assets.curation.dedup.text_keys import TextKeys, id_chars, text_keys
from snow_assets.curation.spill import PART_BYTES
from snow_assets.storage import shards

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SignatureShard:
    """A shard of `signatures` and its row-aligned shard of `shingles`."""

    folder: str
    name: str

    def read(self, columns: Sequence[str]) -> pa.Table:
        return shards.read_shard(self.folder, self.name, columns=columns)

    def shingles(self) -> Iterator[pa.BinaryArray]:
        """The column `shingles` in chunks: the shingles of a text, uint32 little-endian."""
        name = self.name.replace("signatures", "shingles")
        yield from shards.read_shard(self.folder, name)["shingles"].chunks


@dataclass(frozen=True, kw_only=True)
class VerifiedPairs:
    """Pairs of indices into the ascending `keys`, and their Jaccard similarity."""

    keys: TextKeys
    ids: npt.NDArray[np.uint8]  # (keys, 64) characters
    left: Indices
    right: Indices
    jaccards: npt.NDArray[np.float64]


def verify_pairs(
    candidates: CandidatePairs, signature_shards: Sequence[SignatureShard], *, min_jaccard: float
) -> VerifiedPairs:
    """The candidate pairs with a Jaccard similarity of at least `min_jaccard`.

    The candidates' shingles are spilled to disk in one pass over the shards; of a text in several
    shards the first copy is read. Memory: a shard's shingles, a batch of pairs' shingles, and
    about 130 bytes per text in a pair.
    """
    keys = np.unique(np.concatenate(candidates))
    left, right = np.searchsorted(keys, candidates.left), np.searchsorted(keys, candidates.right)
    with tempfile.TemporaryFile() as file:
        ids, sizes, starts = _spill_shingles(keys, signature_shards, file)
        similarities = np.concatenate(
            [
                np.zeros(0),
                *(
                    _jaccards(file, sizes, starts, left[batch], right[batch], min_jaccard)
                    for batch in _batches(sizes[left] + sizes[right])
                ),
            ]
        )
    is_verified = similarities >= min_jaccard
    return VerifiedPairs(
        keys=keys,
        ids=ids,
        left=left[is_verified],
        right=right[is_verified],
        jaccards=similarities[is_verified],
    )


def _spill_shingles(
    keys: TextKeys, signature_shards: Sequence[SignatureShard], file: BufferedRandom
) -> tuple[npt.NDArray[np.uint8], Indices, Indices]:
    """Write the texts' shingles to the file; return their ids, sizes and starts (in values)."""
    ids = np.zeros((len(keys), 64), dtype=np.uint8)
    sizes = np.zeros(len(keys), dtype=np.int64)
    starts = np.full(len(keys), -1, dtype=np.int64)
    num_values = 0
    for signature_shard in signature_shards if len(keys) else []:
        table = signature_shard.read(["text_id", "num_shingles"])
        shard_keys = text_keys(table["text_id"])
        indices = np.minimum(np.searchsorted(keys, shard_keys), len(keys) - 1)
        rows = np.flatnonzero((keys[indices] == shard_keys) & (starts[indices] < 0))
        if not len(rows):
            continue
        indices = indices[rows]
        ids[indices] = id_chars(table["text_id"])[rows]
        sizes[indices] = table["num_shingles"].to_numpy()[rows]
        starts[indices] = num_values + np.cumsum(sizes[indices]) - sizes[indices]
        num_values += int(sizes[indices].sum())
        chunk_start = 0
        for chunk in signature_shard.shingles():
            chunk_rows = (
                rows[(rows >= chunk_start) & (rows < chunk_start + len(chunk))] - chunk_start
            )
            file.write(buffers(chunk.take(pa.array(chunk_rows)))[0].data)
            chunk_start += len(chunk)
    file.flush()
    return ids, sizes, starts


def _batches(sizes: Indices) -> Iterator[slice]:
    """Slices of pairs whose shingles fit in a part; at least one pair each."""
    batch = np.cumsum(sizes) * 4 // PART_BYTES
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(batch)) + 1, [len(sizes)]]).tolist()
    for start, end in pairwise(bounds):
        if end > start:
            yield slice(start, end)


def _jaccards(
    file: BufferedRandom,
    sizes: Indices,
    starts: Indices,
    left: Indices,
    right: Indices,
    min_jaccard: float,
) -> npt.NDArray[np.float64]:
    members = np.unique(np.concatenate([left, right]))
    order = np.argsort(starts[members])
    counts, file_starts = sizes[members][order], starts[members][order]
    ends = np.cumsum(counts)
    values = np.empty(int(ends[-1]), dtype=np.uint32)
    gaps = np.flatnonzero(file_starts[1:] != (file_starts + counts)[:-1]) + 1
    # One read per contiguous range of the file.
    for first, last in pairwise([0, *gaps.tolist(), len(members)]):
        file.seek(4 * int(file_starts[first]))
        buffer = values[ends[first] - counts[first] : ends[last - 1]]
        file.readinto(buffer.view(np.uint8).data)
    ranks = np.argsort(order)
    left, right = (ranks[np.searchsorted(members, column)] for column in (left, right))
    similarities = np.zeros(len(left))
    jaccards(values, ends - counts, counts, left, right, min_jaccard, similarities)
    return similarities
