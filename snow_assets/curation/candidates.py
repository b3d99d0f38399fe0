"""Signatures in; pairs of texts that agree in a band, out.

Bands are sorted on disk, a part at a time, so that memory does not grow with the corpus.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.hashing import Hashes
from snow_assets.curation.minhash import distinct_pairs
from snow_assets.curation.spill import Spill, part_of, parts_for
from snow_assets.curation.text_keys import TextKeys

# In a band's bucket of m texts all pairs are m^2: beyond this many, each text is compared with the
# bucket's first ones and its neighbour only, which connects whatever is alike throughout.
_ALL_PAIRS = 64
_FIRST_ONES = 8

_ENTRY = pa.schema([("band", pa.uint64()), ("text", pa.uint64())])
_PAIR = pa.schema([("one", pa.uint64()), ("other", pa.uint64())])
_ENTRY_BYTES = 16


class Pairs(NamedTuple):
    """Pairs of texts by their keys, in order, each once; one < other."""

    ones: TextKeys
    others: TextKeys


def candidate_pairs(
    signatures: Iterable[tuple[TextKeys, Hashes]], *, num_texts: int, bands: int
) -> Pairs:
    """The pairs of texts with an equal band; which, no order of the texts changes.

    `signatures` has texts and a row of band hashes for each; a text may come again. `num_texts` is
    how many come at most. Memory: the pairs, 16 bytes each, and a part of the spill.
    """
    parts = parts_for(num_texts * bands, _ENTRY_BYTES)
    with Spill(_ENTRY, parts) as entries, Spill(_PAIR, parts) as pairs:
        for texts, hashes in signatures:
            flat = hashes.reshape(-1)
            columns = [pa.array(flat), pa.array(np.repeat(texts, hashes.shape[1]))]
            entries.add(pa.table(columns, schema=_ENTRY), part_of(flat, parts))
        for ones, others in map(_pairs_in, entries.parts()):
            found = pa.table([pa.array(ones), pa.array(others)], schema=_PAIR)
            pairs.add(found, part_of(ones, parts))
        ordered = list(_in_order(pairs.parts()))
    return Pairs(*(np.concatenate(side) for side in zip(*ordered, strict=True)))


def _pairs_in(entries: pa.Table) -> tuple[TextKeys, TextKeys]:
    """The pairs of a part; in another part, and so in another band, they may stand again."""
    bands, texts = entries["band"].to_numpy(), entries["text"].to_numpy()
    order = np.argsort(bands)
    same = bands[order][1:] == bands[order][:-1]
    crowded = np.zeros(len(bands), dtype=np.bool_)
    crowded[1:] |= same
    crowded[:-1] |= same
    # Most texts are alone in their bucket: only the others are brought into order.
    shared = order[crowded]
    shared = shared[np.lexsort((texts[shared], bands[shared]))]
    shared = shared[_is_new(bands[shared], texts[shared])]
    bounds = np.flatnonzero(np.diff(bands[shared])) + 1
    bounds = np.concatenate([[0], bounds, [len(shared)]])
    return distinct_pairs(texts[shared], bounds, _ALL_PAIRS, _FIRST_ONES)


def _in_order(parts: Iterable[pa.Table]) -> Iterator[tuple[TextKeys, TextKeys]]:
    """Each part sorted and without repeats; a later part has larger keys."""
    for part in parts:
        ones, others = part["one"].to_numpy(), part["other"].to_numpy()
        order = np.lexsort((others, ones))
        ones, others = ones[order], others[order]
        is_new = _is_new(ones, others)
        yield ones[is_new], others[is_new]


def _is_new(ones: Hashes, others: Hashes) -> npt.NDArray[np.bool_]:
    """Where two sorted columns are not what they were in the row before."""
    changes = np.ones(len(ones), dtype=np.bool_)
    changes[1:] = (ones[1:] != ones[:-1]) | (others[1:] != others[:-1])
    return changes
