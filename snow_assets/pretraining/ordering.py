"""Deterministic orders: of the documents of a pass, and of the sequences of a phase."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

NUM_RANGES = 1 << 16
"""Of the hashes of repositories. Documents are packed in the order of these hashes."""


def repository_ranges(
    repositories: pa.ChunkedArray, *, pass_index: int, seed: int
) -> npt.NDArray[np.uint16]:
    """The range of hashes that each repository falls into, in a pass."""
    distinct = repositories.combine_chunks().dictionary_encode()
    hashes = [_hash(seed, pass_index, name) for name in distinct.dictionary.to_pylist()]
    ranges = (np.array(hashes, np.uint64) >> np.uint64(48)).astype(np.uint16)
    indices: npt.NDArray[np.int32] = distinct.indices.to_numpy()
    return ranges[indices]


def _hash(seed: int, pass_index: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{pass_index}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def ordered_by_repository(
    documents: pa.Table, *, pass_index: int, file_order: str, seed: int
) -> pa.Table:
    """Documents of a pass in packing order: repositories in random order, files of one adjacent.

    The order depends on seed, pass and names alone, and differs between passes. Columns `is_first`
    and `is_last` tell the first and the last file of each repository. Memory: the table again.
    """
    keys = pl.DataFrame(documents.select(["repository", "path", "document_id"]))
    names = keys["repository"].unique()
    hash_of = {name: _hash(seed, pass_index, name) for name in names}
    file_hashes = [
        _hash(seed, pass_index, name) if file_order == "random" else 0
        for name in keys["document_id"]
    ]
    keys = keys.with_columns(
        repository_hash=pl.col("repository").replace_strict(hash_of, return_dtype=pl.UInt64),
        file_hash=pl.Series(file_hashes, dtype=pl.UInt64),
    )
    by = ("repository_hash", "repository", "file_hash", "path", "document_id")
    order = keys.select(pl.arg_sort_by(by, maintain_order=True)).to_series()
    repository = keys["repository"].gather(order)
    is_first = repository.ne_missing(repository.shift(1))
    is_last = repository.ne_missing(repository.shift(-1))
    ordered = documents.take(order.to_arrow())
    return ordered.append_column("is_first", is_first.to_arrow()).append_column(
        "is_last", is_last.to_arrow()
    )


def training_order(passes: Mapping[str, Sequence[int]], *, phase: str, seed: int) -> np.ndarray:
    """The permutation of sequence indices in which a phase trains, each sequence exactly once.

    `passes` counts each language's sequences by pass, languages in the order of the sequence
    indices. A language's passes follow one another, shuffled within each pass, so that no document
    repeats before all documents of the language were read. Languages are interleaved uniformly, so
    that their proportions are the same throughout. Memory: 24 bytes a sequence.
    """
    # RandomState, since its streams are frozen for good (NEP 19) and a resumed phase needs that.
    seed_words = np.frombuffer(hashlib.sha256(f"{seed}:{phase}".encode()).digest(), np.uint32)
    random = np.random.RandomState(seed_words.astype(np.int64) % (1 << 32))
    indices: list[np.ndarray] = []
    sort_keys: list[np.ndarray] = []
    first = 0
    for counts in passes.values():
        shuffled = []
        for count in counts:
            shuffled.append(first + random.permutation(count))
            first += count
        language_indices = np.concatenate(shuffled) if shuffled else np.zeros(0, np.int64)
        indices.append(language_indices)
        sort_keys.append(
            (np.arange(len(language_indices)) + random.random_sample(len(language_indices)))
            / max(1, len(language_indices))
        )
    order: np.ndarray = np.concatenate(indices)[
        np.argsort(np.concatenate(sort_keys), kind="stable")
    ]
    return order
