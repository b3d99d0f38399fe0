"""Candidate pairs of near deduplication: texts whose MinHash signatures share a band (LSH).

Bands are partitioned on disk and sorted one part at a time: memory does not grow with the corpus.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.dedup.minhash import distinct_pairs
from snow_assets.curation.dedup.text_keys import TextKeys
from snow_assets.curation.hashing import Hashes
from snow_assets.curation.spill import Spill, num_parts, part_of

# A bucket of m texts has m^2 pairs. In larger buckets each text is paired only with the bucket's
# first texts (the pivots) and with its neighbour, which connects a set of similar texts.
_MAX_ALL_PAIRS = 64
_NUM_PIVOTS = 8

_ENTRY = pa.schema([("band", pa.uint64()), ("text", pa.uint64())])
_PAIR = pa.schema([("left", pa.uint64()), ("right", pa.uint64())])
_ENTRY_BYTES = 16


class CandidatePairs(NamedTuple):
    """Sorted distinct pairs of text keys; left < right."""

    left: TextKeys
    right: TextKeys


def candidate_pairs(
    signatures: Iterable[tuple[TextKeys, Hashes]], *, num_texts: int, bands: int
) -> CandidatePairs:
    """The pairs of texts with at least one equal band, independent of the order of the texts.

    `signatures` yields text keys and their band hashes (texts, bands); texts may repeat.
    `num_texts` is an upper bound of the number of texts. Memory: the pairs, 16 bytes each, and a
    part of the spill.
    """
    parts = num_parts(num_texts * bands, _ENTRY_BYTES)
    with Spill(_ENTRY, parts) as entries, Spill(_PAIR, parts) as pairs:
        for texts, hashes in signatures:
            flat = hashes.reshape(-1)
            columns = [pa.array(flat), pa.array(np.repeat(texts, hashes.shape[1]))]
            entries.add(pa.table(columns, schema=_ENTRY), part_of(flat, parts))
        for left, right in map(_pairs_in, entries.parts()):
            table = pa.table([pa.array(left), pa.array(right)], schema=_PAIR)
            pairs.add(table, part_of(left, parts))
        ordered = list(_in_order(pairs.parts()))
    return CandidatePairs(*(np.concatenate(column) for column in zip(*ordered, strict=True)))


def _pairs_in(entries: pa.Table) -> tuple[TextKeys, TextKeys]:
    """The pairs of a part; another part may hold the same pairs, from another band."""
    bands, texts = entries["band"].to_numpy(), entries["text"].to_numpy()
    order = np.argsort(bands)
    same = bands[order][1:] == bands[order][:-1]
    is_shared = np.zeros(len(bands), dtype=np.bool_)
    is_shared[1:] |= same
    is_shared[:-1] |= same
    # Most buckets hold one text: sort only the texts of larger buckets.
    shared = order[is_shared]
    shared = shared[np.lexsort((texts[shared], bands[shared]))]
    shared = shared[_is_new(bands[shared], texts[shared])]
    bounds = np.flatnonzero(np.diff(bands[shared])) + 1
    bounds = np.concatenate([[0], bounds, [len(shared)]])
    return distinct_pairs(texts[shared], bounds, _MAX_ALL_PAIRS, _NUM_PIVOTS)


def _in_order(parts: Iterable[pa.Table]) -> Iterator[tuple[TextKeys, TextKeys]]:
    """Each part sorted, without duplicates; later parts have larger keys."""
    for part in parts:
        left, right = part["left"].to_numpy(), part["right"].to_numpy()
        order = np.lexsort((right, left))
        left, right = left[order], right[order]
        is_new = _is_new(left, right)
        yield left[is_new], right[is_new]


def _is_new(left: Hashes, right: Hashes) -> npt.NDArray[np.bool_]:
    """A mask of the rows of two sorted columns that differ from the previous row."""
    changes = np.ones(len(left), dtype=np.bool_)
    changes[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return changes
