"""Candidate pairs in; those whose real Jaccard similarity is high enough, out. No text is read."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets import shards
from snow_assets.curation.candidates import Pairs
from snow_assets.curation.columns import buffers
from snow_assets.curation.minhash import jaccards
from snow_assets.curation.spill import PART_BYTES
from snow_assets.curation.text_keys import TextKeys, id_chars, text_keys

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SignatureShard:
    """A shard of `signatures`, with its `shingles` row by row beside it."""

    folder: str
    name: str

    def read(self, columns: Sequence[str]) -> pa.Table:
        return shards.read_shard(self.folder, self.name, columns=columns)

    def shingles(self) -> Iterator[pa.BinaryArray]:
        """The column in chunks: each value a text's, uint32 little-endian."""
        name = self.name.replace("signatures", "shingles")
        yield from shards.read_shard(self.folder, name)["shingles"].chunks


@dataclass(frozen=True, kw_only=True)
class Verified:
    """Pairs of texts by place among `keys` (rising), and their Jaccard similarity."""

    keys: TextKeys
    ids: npt.NDArray[np.uint8]  # a row of 64 characters for each
    ones: Places
    others: Places
    jaccards: npt.NDArray[np.float64]


def verified(
    candidates: Pairs, sources: Sequence[SignatureShard], *, min_jaccard: float
) -> Verified:
    """The pairs at `min_jaccard` or above. A text that is stored twice is the same in both.

    The shingles of the candidates are set aside on disk in one pass over their shards. Memory: a
    shard's shingles, a batch of pairs' shingles, and about 130 bytes per text in a pair.
    """
    keys = np.unique(np.concatenate(candidates))
    ones, others = np.searchsorted(keys, candidates.ones), np.searchsorted(keys, candidates.others)
    with tempfile.TemporaryFile() as file:
        ids, sizes, starts = _set_aside(keys, sources, file)
        found = np.concatenate(
            [
                np.zeros(0),
                *(
                    _jaccards(file, sizes, starts, ones[batch], others[batch], min_jaccard)
                    for batch in _batches(sizes[ones] + sizes[others])
                ),
            ]
        )
    good = found >= min_jaccard
    return Verified(keys=keys, ids=ids, ones=ones[good], others=others[good], jaccards=found[good])


def _set_aside(
    keys: TextKeys, sources: Sequence[SignatureShard], file: BufferedRandom
) -> tuple[npt.NDArray[np.uint8], Places, Places]:
    """Copy the texts' shingles into the file; their ids, sizes and starts, in values."""
    ids = np.zeros((len(keys), 64), dtype=np.uint8)
    sizes = np.zeros(len(keys), dtype=np.int64)
    starts = np.full(len(keys), -1, dtype=np.int64)
    end = 0
    for source in sources if len(keys) else []:
        table = source.read(["text_id", "num_shingles"])
        held = text_keys(table["text_id"])
        places = np.minimum(np.searchsorted(keys, held), len(keys) - 1)
        rows = np.flatnonzero((keys[places] == held) & (starts[places] < 0))
        if not len(rows):
            continue
        places = places[rows]
        ids[places] = id_chars(table["text_id"])[rows]
        sizes[places] = table["num_shingles"].to_numpy()[rows]
        starts[places] = end + np.cumsum(sizes[places]) - sizes[places]
        end += int(sizes[places].sum())
        first = 0
        for chunk in source.shingles():
            here = rows[(rows >= first) & (rows < first + len(chunk))] - first
            file.write(buffers(chunk.take(pa.array(here)))[0].data)
            first += len(chunk)
    file.flush()
    return ids, sizes, starts


def _batches(sizes: Places) -> Iterator[slice]:
    """Runs of pairs whose shingles fit in a part; at least one pair each."""
    batch = np.cumsum(sizes) * 4 // PART_BYTES
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(batch)) + 1, [len(sizes)]]).tolist()
    for start, end in pairwise(bounds):
        if end > start:
            yield slice(start, end)


def _jaccards(
    file: BufferedRandom, sizes: Places, starts: Places, ones: Places, others: Places, least: float
) -> npt.NDArray[np.float64]:
    members = np.unique(np.concatenate([ones, others]))
    in_file = np.argsort(starts[members])
    counts, begins = sizes[members][in_file], starts[members][in_file]
    ends = np.cumsum(counts)
    values = np.empty(int(ends[-1]), dtype=np.uint32)
    gaps = np.flatnonzero(begins[1:] != (begins + counts)[:-1]) + 1
    # One read for neighbours in the file.
    for first, last in pairwise([0, *gaps.tolist(), len(members)]):
        file.seek(4 * int(begins[first]))
        room = values[ends[first] - counts[first] : ends[last - 1]]
        file.readinto(room.view(np.uint8).data)
    places = np.argsort(in_file)
    ones, others = (places[np.searchsorted(members, side)] for side in (ones, others))
    found = np.zeros(len(ones))
    jaccards(values, ends - counts, counts, ones, others, least, found)
    return found
