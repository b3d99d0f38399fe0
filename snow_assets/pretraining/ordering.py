"""Deterministic orders: of the documents of a pass, and of the sequences of a phase."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_KEY_RANGE = 1 << 64
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("document_id", "text_id", "repository", "path")),
        ("license", pa.string()),
        ("num_tokens", pa.int64()),
        ("text", pa.large_string()),  # a bucket can hold more than the offsets of a string reach
        ("passes", pa.int32()),
    ]
)


def _hash_key(seed: int, pass_index: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{pass_index}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def documents_by_repository(
    batches: Iterable[pa.RecordBatch],
    *,
    pass_index: int,
    buckets: int,
    file_order: Literal["random", "path"],
    seed: int,
) -> Iterator[pa.Table]:
    """Yield the documents of one pass: repositories in random order, files of one adjacent.

    The order depends on seed, pass and names alone, and differs between passes. Columns `is_first`
    and `is_last` tell the first and the last file of each repository. Memory: twice one of
    `buckets` equal ranges of the repositories' random keys (at least one repository); with more
    than one bucket the documents lie in a temporary folder meanwhile.
    """
    batches_of_pass = (_documents_of_pass(batch, pass_index) for batch in batches)
    if buckets == 1:
        documents = list(batches_of_pass)
        if documents:
            table = pa.Table.from_batches(documents)
            yield _sorted_by_repository(table, pass_index, file_order, seed)
        return
    with tempfile.TemporaryDirectory(prefix="packing-") as folder:
        paths = _spill(
            batches_of_pass, Path(folder), pass_index=pass_index, buckets=buckets, seed=seed
        )
        for path in paths:
            with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
                table = reader.read_all()
            yield _sorted_by_repository(table, pass_index, file_order, seed)


def _documents_of_pass(batch: pa.RecordBatch, pass_index: int) -> pa.RecordBatch:
    documents = batch.select(_SCHEMA.names).cast(_SCHEMA)
    return documents.filter(pc.greater(documents["passes"], pass_index))


def _spill(
    batches: Iterable[pa.RecordBatch], folder: Path, *, pass_index: int, buckets: int, seed: int
) -> list[Path]:
    """Append each document to the file of its repository's bucket; the files in key order."""
    writers: dict[int, pa.RecordBatchStreamWriter] = {}
    paths = [folder / f"{bucket:05d}" for bucket in range(buckets)]
    for batch in batches:
        keys = [_hash_key(seed, pass_index, name) for name in batch["repository"].to_pylist()]
        bucket_of = np.array([key * buckets // _KEY_RANGE for key in keys], np.int64)
        for bucket in np.unique(bucket_of).tolist():
            if bucket not in writers:
                writers[bucket] = pa.ipc.new_stream(str(paths[bucket]), batch.schema)
            writers[bucket].write_batch(batch.filter(pa.array(bucket_of == bucket)))
    for writer in writers.values():
        writer.close()
    return [paths[bucket] for bucket in sorted(writers)]


def _sorted_by_repository(
    documents: pa.Table, pass_index: int, file_order: str, seed: int
) -> pa.Table:
    keys = pl.DataFrame(documents.select(["repository", "path", "document_id"]))
    names = keys["repository"].unique()
    hash_of = {name: _hash_key(seed, pass_index, name) for name in names}
    file_hashes = [
        _hash_key(seed, pass_index, name) if file_order == "random" else 0
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
