"""Pack documents into fixed-length sequences of one language, with a span per document piece.

Documents are packed repository by repository, in their packed forms (`packed_documents.py`), and
cut wherever a sequence is full.

A language is packed over an exchange. Documents of a pass are brought together in buckets: ranges
of the hashes of their repositories, of about as many tokens, in packing order. A bucket is sorted
and tokenized; where its tokens stand among all follows from the totals of the buckets before it. A
shard is cut from the buckets that it covers, so that no file depends on their number.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.tokenizer.tokens import SharedTokenizer
from snow_assets.pretraining.ordering import (
    NUM_RANGES,
    ordered_by_repository,
    repository_ranges,
)
from snow_assets.pretraining.packed_documents import (
    NAMES,
    num_packed_tokens,
    packed_documents,
    packed_schema,
)
from snow_assets.pretraining.packed_shards import WRITTEN, PackShard, put_shards
from snow_assets.pretraining.sequences import (
    checksums_name,
    token_dtype,
    tokens_name,
)
from snow_assets.pretraining.sources import COLUMNS, LanguageSource, ReadShard
from snow_assets.recipe import PackingRecipe
from snow_assets.runtime.exchange.contract import (
    MAX_PARTITIONS,
    Exchange,
    JoinedPartitions,
    Partition,
)
from snow_assets.runtime.exchange.partitions import indices_in
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.runtime.threads import map_ahead
from snow_assets.storage import shards

_DOCUMENTS_AT_ONCE = 128  # a thread tokenizes them
_TOKEN_BYTES = 4  # of text
_MAX_BUCKET_TOKENS = 64_000_000

_RANGE_TOKENS = pa.schema([("range", pa.uint16()), ("num_tokens", pa.int64())])
_BUCKET = pa.field("bucket", pa.uint16())
_DOCUMENT = pa.schema(
    [
        *((name, pa.string()) for name in (*NAMES, "path")),
        ("num_tokens", pa.int64()),
        ("text", pa.large_string()),  # a bucket can hold more than the offsets of a string reach
        _BUCKET,
    ]
)

_Item = TypeVar("_Item")
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Packed:
    """Packed documents of a bucket, and where they stand among the tokens of their language."""

    partition: Partition
    begin: int
    end: int


def pack_language(
    source: LanguageSource,
    *,
    folder: str,
    first_shard: int,
    first_sequence: int,
    num_sequences: int,
    max_seq_len: int,
    tokenizer: SharedTokenizer,
    recipe: PackingRecipe,
    exchange: Exchange,
) -> int:
    """Write exactly `num_sequences` sequences and their spans; return the number of shards.

    Passes are packed in order; the last one stops where the last sequence is full. A finished
    language is skipped. In an interrupted language, finished shards are kept and the documents are
    read again. Memory of a call: twice a bucket of documents and a batch per thread, or the tokens
    of a shard and of the buckets that it covers.
    """
    sizes = [
        min(recipe.shard_sequences, num_sequences - first)
        for first in range(0, num_sequences, recipe.shard_sequences)
    ]
    unfinished = _unfinished_shards(folder, range(first_shard, first_shard + len(sizes)))
    if not unfinished:
        return len(sizes)
    missing = _shards(sizes, first_shard, first_sequence, max_seq_len)
    progress = Remaining(len(unfinished), f"shards of {source.language} packed")
    buckets = _packed_buckets(source, missing[-1].end, tokenizer, recipe, exchange)
    packed: list[_Packed] = []  # from the bucket in which the first missing shard begins
    end = 0
    for group in _groups(buckets, exchange.num_partitions(0)):  # so many calls, one for each core
        for partition, num_tokens in group:
            packed.append(_Packed(partition, end, end + num_tokens))
            end += num_tokens
        full = [shard for shard in missing if shard.end <= end]
        calls = _write_calls(packed, [shard for shard in full if shard.index in unfinished])
        written = exchange.map_shards(
            put_shards,
            [call.documents for call in calls],
            [call.shards for call in calls],
            schema=WRITTEN,
            folder=folder,
            language=source.language,
            max_seq_len=max_seq_len,
            num_threads=exchange.threads_per_call,
        )
        for table in exchange.gather(written):
            progress.advance(sum(table["shards"].to_pylist()))
        missing = missing[len(full) :]
        packed = [bucket for bucket in packed if missing and bucket.end > missing[0].begin]
    if missing:
        raise ValueError(
            f"{source.language}: the documents end {missing[0].end - end} tokens before the shard "
            f"that starts with sequence {missing[0].first_sequence} is full: they are fewer than "
            "their counts say; materialize what they come from again"
        )
    return len(sizes)


def _shards(
    sizes: Sequence[int], first_shard: int, first_sequence: int, max_seq_len: int
) -> list[PackShard]:
    ends = itertools.accumulate(sizes, initial=0)
    return [
        PackShard(
            index=index,
            first_sequence=first_sequence + begin,
            num_sequences=end - begin,
            begin=begin * max_seq_len,
            end=end * max_seq_len,
        )
        for index, (begin, end) in enumerate(itertools.pairwise(ends), first_shard)
    ]


def _groups(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while group := list(itertools.islice(items, size)):
        yield group


def _unfinished_shards(folder: str, indices: Iterable[int]) -> set[int]:
    """Shards of which a file has no record; a single listing."""
    file_names = {
        index: {tokens_name(index), checksums_name(index), shards.table_name("spans", index)}
        for index in indices
    }
    finished = shards.finished_files(folder, itertools.chain.from_iterable(file_names.values()))
    return {index for index, required in file_names.items() if not required <= finished}


def _packed_buckets(
    source: LanguageSource,
    num_tokens: int,
    tokenizer: SharedTokenizer,
    recipe: PackingRecipe,
    exchange: Exchange,
) -> Iterator[tuple[Partition, int]]:
    """Buckets in packing order, with their tokens, until they hold `num_tokens`."""
    missing_tokens = num_tokens
    for pass_index in range(len(source.pass_tokens)):
        range_tokens = _tokens_by_range(source, pass_index, recipe.seed, exchange)
        first = 0
        while missing_tokens > 0 and range_tokens[first:].any():
            # By the documents' counts; what stands between the texts adds to them.
            counted = np.cumsum(range_tokens[first:])
            target = min(missing_tokens, MAX_PARTITIONS * _bucket_tokens(recipe))
            end = min(NUM_RANGES, first + int(np.searchsorted(counted, target)) + 1)
            buckets = _pass_buckets(source, pass_index, range_tokens, first, end, recipe, exchange)
            dtype = token_dtype(tokenizer.tokenizer.get_vocab_size())
            packed = exchange.map_shards(
                _pack_bucket,
                buckets,
                schema=packed_schema(dtype),
                pass_index=pass_index,
                max_tokens=missing_tokens,
                tokenizer=tokenizer,
                recipe=recipe,
                num_threads=exchange.threads_per_call,
            )
            for partition, packed_tokens in exchange.persist(packed, num_packed_tokens):
                yield partition, packed_tokens
                missing_tokens -= packed_tokens
                if missing_tokens <= 0:
                    return
            first = end


def _bucket_tokens(recipe: PackingRecipe) -> int:
    """At most, but for a repository; a pass of more than MAX_PARTITIONS buckets is exchanged in
    parts, for each of which its texts are read."""
    return min(recipe.bucket_tokens, _MAX_BUCKET_TOKENS)


def _tokens_by_range(
    source: LanguageSource, pass_index: int, seed: int, exchange: Exchange
) -> Integers:
    """The tokens of a pass's documents by the range of their repositories' hashes."""
    counted = exchange.map_shards(
        _range_tokens, source.shards, schema=_RANGE_TOKENS, pass_index=pass_index, seed=seed
    )
    tokens = np.zeros(NUM_RANGES, np.int64)
    for table in exchange.gather(counted):
        np.add.at(tokens, table["range"].to_numpy(), table["num_tokens"].to_numpy())
    return tokens


def _range_tokens(read_shard: ReadShard, *, pass_index: int, seed: int) -> pa.Table:
    documents = read_shard(["repository", "num_tokens"])
    documents = documents.filter(pc.greater(documents["passes"], pass_index))
    ranges = repository_ranges(documents["repository"], pass_index=pass_index, seed=seed)
    tokens = np.bincount(ranges, documents["num_tokens"].to_numpy() + 1.0)
    present = np.flatnonzero(tokens)
    return pa.table(
        [present.astype(np.uint16), tokens[present].astype(np.int64)], schema=_RANGE_TOKENS
    )


def _pass_buckets(
    source: LanguageSource,
    pass_index: int,
    range_tokens: Integers,
    first: int,
    end: int,
    recipe: PackingRecipe,
    exchange: Exchange,
) -> Sequence[Partition]:
    """A pass's documents in the ranges `first` to `end`, in buckets of about as many tokens."""
    counted = np.cumsum(range_tokens[first:end])
    num_tokens = int(counted[-1])
    num_buckets = min(
        MAX_PARTITIONS,
        max(
            exchange.num_partitions(num_tokens * _TOKEN_BYTES),
            -(-num_tokens // _bucket_tokens(recipe)),
        ),
    )
    targets = num_tokens * np.arange(1, num_buckets) // num_buckets
    documents = exchange.map_shards(
        _documents,
        source.shards,
        schema=_DOCUMENT,
        pass_index=pass_index,
        seed=recipe.seed,
        first=first,
        end=end,
        boundaries=first + 1 + np.searchsorted(counted, targets),
    )
    return exchange.by_key(documents, indices_in(_BUCKET.name), num_partitions=num_buckets)


def _documents(
    read_shard: ReadShard, *, pass_index: int, seed: int, first: int, end: int, boundaries: Integers
) -> pa.Table:
    """A shard's documents of a pass in the ranges from `first` to `end`, with their buckets.

    Texts are read if there is one.
    """
    repositories = read_shard(["repository"])
    ranges = repository_ranges(repositories["repository"], pass_index=pass_index, seed=seed)
    is_read = (repositories["passes"].to_numpy() > pass_index) & (ranges >= first) & (ranges < end)
    if not is_read.any():
        return _DOCUMENT.empty_table()
    documents = read_shard(COLUMNS).filter(pa.array(is_read))
    buckets = np.searchsorted(boundaries, ranges[is_read], side="right").astype(np.uint16)
    return (
        documents.append_column(_BUCKET, pa.array(buckets)).select(_DOCUMENT.names).cast(_DOCUMENT)
    )


def _pack_bucket(
    documents: pa.Table,
    *,
    pass_index: int,
    max_tokens: int,
    tokenizer: SharedTokenizer,
    recipe: PackingRecipe,
    num_threads: int,
) -> pa.Table:
    """Packed documents in packing order, no more than it takes for `max_tokens`."""
    dtype = token_dtype(tokenizer.tokenizer.get_vocab_size())
    batches = ordered_by_repository(
        documents, pass_index=pass_index, file_order=recipe.file_order, seed=recipe.seed
    ).to_batches(max_chunksize=_DOCUMENTS_AT_ONCE)
    pack_batch = partial(
        packed_documents, pass_index=pass_index, tokenizer=tokenizer, recipe=recipe, dtype=dtype
    )
    packed = [packed_schema(dtype).empty_table()]
    num_tokens = 0
    for table in map_ahead(pack_batch, batches, num_threads=num_threads):
        packed.append(table)
        num_tokens += num_packed_tokens(table)
        if num_tokens >= max_tokens:
            break
    return pa.concat_tables(packed).combine_chunks()


@dataclass(frozen=True)
class _WriteCall:
    """Shards that begin in one bucket, their tokens counted from its begin."""

    shards: Sequence[PackShard]
    documents: JoinedPartitions  # of the buckets that they cover


def _write_calls(packed: Sequence[_Packed], full: Sequence[PackShard]) -> list[_WriteCall]:
    """The calls that write shards of which the buckets hold all tokens."""
    calls = []
    for number, bucket in enumerate(packed):
        beginning = [shard for shard in full if bucket.begin <= shard.begin < bucket.end]
        if beginning:
            covered = [
                following.partition
                for following in packed[number:]
                if following.begin < beginning[-1].end
            ]
            moved = [
                replace(shard, begin=shard.begin - bucket.begin, end=shard.end - bucket.begin)
                for shard in beginning
            ]
            calls.append(_WriteCall(moved, JoinedPartitions(covered)))
    return calls
