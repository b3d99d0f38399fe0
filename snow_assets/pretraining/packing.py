"""Pack documents into fixed-length sequences of one language, with a span per document piece.

Documents are packed repository by repository and cut wherever a sequence is full. A document's
*packed form* is its tokens followed by END_OF_TEXT, which its spans include. With
`repository_tokens`, a repository's first file is preceded by <repo_name> and its name, every file
by <file_sep>, its path and a newline, and only the last file of the repository ends with
END_OF_TEXT (StarCoder2's form, arXiv 2402.19173). A fraction `fill_in_the_middle_rate` of the
documents is reordered for fill-in-the-middle (PSM): <fim_prefix> prefix <fim_suffix> suffix
<fim_middle> middle.
"""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.encoding import token_ids
from snow_assets.curation.tokenizer.tokens import (
    END_OF_TEXT,
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    REPO_NAME,
)
from snow_assets.pretraining.ordering import documents_by_repository
from snow_assets.pretraining.sequences import (
    checksums_name,
    put_sequences,
    token_dtype,
    tokens_name,
)
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import PackingRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import SPAN

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_DOCUMENTS_AT_ONCE = 128  # a thread tokenizes them


class PackedDocument(NamedTuple):
    """A document of a pass in its packed form."""

    document_id: str
    text_id: str
    repository: str
    license: str
    pass_index: int
    tokens: np.ndarray


class _Span(NamedTuple):
    """Tokens of a document in one sequence."""

    sequence: int
    sequence_offset: int
    length: int
    document_offset: int
    document: PackedDocument


@dataclass
class _Shard:
    """Tokens and spans of a shard's consecutive sequences, while they are packed."""

    index: int
    first_sequence: int
    language: str
    tokens: np.ndarray  # (sequences, max_seq_len)
    spans: list[_Span] = field(default_factory=list)
    num_tokens: int = 0


def pack_language(
    source: LanguageSource,
    *,
    folder: str,
    first_shard: int,
    first_sequence: int,
    num_sequences: int,
    max_seq_len: int,
    tokenizer: Tokenizer,
    recipe: PackingRecipe,
    pool: ThreadPoolExecutor,
) -> int:
    """Write exactly `num_sequences` sequences and their spans; return the number of shards.

    Passes are packed in order; the last one stops where the last sequence is full. A finished
    language is skipped. In an interrupted language, finished shards are kept and the documents are
    read again. `pool` tokenizes and writes, ahead of and behind the packing; the result does not
    depend on its size. Memory: twice a bucket of documents, two shards, and a batch per thread.
    """
    sizes = [
        min(recipe.shard_sequences, num_sequences - first)
        for first in range(0, num_sequences, recipe.shard_sequences)
    ]
    unfinished = _unfinished_shards(folder, range(first_shard, first_shard + len(sizes)))
    if not unfinished:
        return len(sizes)
    dtype = token_dtype(tokenizer.get_vocab_size())
    stream = _packed_documents(source, tokenizer, recipe, pool)
    first = first_sequence
    remainder: tuple[PackedDocument, int] | None = None
    write: Future[None] | None = None
    for index, size in enumerate(sizes, first_shard):
        shard = _Shard(index, first, source.language, np.empty((size, max_seq_len), dtype))
        remainder = _fill(shard, remainder, stream)
        if write:
            write.result()
        write = pool.submit(_write, folder, shard) if index in unfinished else None
        first += size
    if write:
        write.result()
    return len(sizes)


def _unfinished_shards(folder: str, indices: Iterable[int]) -> set[int]:
    """Shards of which a file has no record; a single listing."""
    file_names = {
        index: {tokens_name(index), checksums_name(index), shards.table_name("spans", index)}
        for index in indices
    }
    finished = shards.finished_files(folder, itertools.chain.from_iterable(file_names.values()))
    return {index for index, required in file_names.items() if not required <= finished}


def _packed_documents(
    source: LanguageSource, tokenizer: Tokenizer, recipe: PackingRecipe, pool: ThreadPoolExecutor
) -> Iterator[PackedDocument]:
    """Yield all passes' documents in packing order."""
    for pass_index, tokens in enumerate(source.pass_tokens):
        tables = documents_by_repository(
            source.read(),
            pass_index=pass_index,
            buckets=-(-tokens // recipe.bucket_tokens) or 1,
            file_order=recipe.file_order,
            seed=recipe.seed,
        )
        batches = (
            batch
            for table in tables
            for batch in table.to_batches(max_chunksize=_DOCUMENTS_AT_ONCE)
        )
        pack_batch = partial(
            packed_documents, pass_index=pass_index, tokenizer=tokenizer, recipe=recipe
        )
        yield from itertools.chain.from_iterable(_map_ahead(pool, pack_batch, batches))


def _map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Results in the order of the items, two per CPU of which are worked on ahead of the reader."""
    pending: deque[Future[_Result]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > 2 * len(os.sched_getaffinity(0)):
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def packed_documents(
    batch: pa.RecordBatch, *, pass_index: int, tokenizer: Tokenizer, recipe: PackingRecipe
) -> list[PackedDocument]:
    """Tokenize documents to packed forms; ValueError if a plain text's `num_tokens` is wrong."""
    rows = batch.to_pylist()
    parts = [_parts(row, pass_index, tokenizer, recipe) for row in rows]
    texts = [part for document in parts for part in document if isinstance(part, str)]
    encoded = iter(token_ids(tokenizer, texts).split())
    documents = []
    for row, document in zip(rows, parts, strict=True):
        pieces = [
            next(encoded) if isinstance(part, str) else np.array([part], np.uint32)
            for part in document
        ]
        tokens = np.concatenate(pieces)
        is_plain = len(document) == 2 and isinstance(document[0], str)
        if is_plain and len(tokens) != row["num_tokens"] + 1:
            raise ValueError(
                f"document {row['document_id']} counts {row['num_tokens']} tokens and has "
                f"{len(tokens) - 1}: it was counted with another tokenizer; materialize it again"
            )
        documents.append(
            PackedDocument(
                row["document_id"],
                row["text_id"],
                row["repository"],
                row["license"],
                pass_index,
                tokens,
            )
        )
    return documents


def _parts(
    row: Mapping[str, Any], pass_index: int, tokenizer: Tokenizer, recipe: PackingRecipe
) -> list[str | int]:
    """A packed form as texts to tokenize and ids of special tokens."""
    special_id = _special_token_ids(tokenizer)
    text_parts = _fill_in_the_middle(row, pass_index, special_id, recipe)
    if not recipe.repository_tokens:
        return [*text_parts, special_id(END_OF_TEXT)]
    repository_parts = [special_id(REPO_NAME), row["repository"]] if row["is_first"] else []
    end_parts = [special_id(END_OF_TEXT)] if row["is_last"] else []
    return [*repository_parts, special_id(FILE_SEP), f"{row['path']}\n", *text_parts, *end_parts]


def _fill_in_the_middle(
    row: Mapping[str, Any], pass_index: int, special_id: Callable[[str], int], recipe: PackingRecipe
) -> list[str | int]:
    text: str = row["text"]
    if not recipe.fill_in_the_middle_rate:
        return [text]
    digest = hashlib.sha256(f"{recipe.seed}:{pass_index}:{row['document_id']}:middle".encode())
    draw, *cuts = (int(word) / 2**32 for word in np.frombuffer(digest.digest()[:12], ">u4"))
    if draw >= recipe.fill_in_the_middle_rate:
        return [text]
    begin, end = sorted(int(cut * (len(text) + 1)) for cut in cuts)
    return [
        special_id(FIM_PREFIX),
        text[:begin],
        special_id(FIM_SUFFIX),
        text[end:],
        special_id(FIM_MIDDLE),
        text[begin:end],
    ]


def _special_token_ids(tokenizer: Tokenizer) -> Callable[[str], int]:
    def token_id(token: str) -> int:
        special_id = tokenizer.token_to_id(token)
        if special_id is None:
            raise ValueError(
                f"the tokenizer has no special token {token}: name another in the recipe's "
                "tokenizer.pretrained, or None to train one"
            )
        return int(special_id)

    return token_id


def _fill(
    shard: _Shard,
    remainder: tuple[PackedDocument, int] | None,
    stream: Iterator[PackedDocument],
) -> tuple[PackedDocument, int] | None:
    """Fill a shard from the last document's remainder, a document and how many of its tokens are
    packed, and the stream; return the new remainder."""
    while free_tokens := shard.tokens.size - shard.num_tokens:
        if remainder is None:
            document = next(stream, None)
            if document is None:
                raise ValueError(
                    f"{shard.language}: the documents end {free_tokens} tokens before the shard "
                    f"that starts with sequence {shard.first_sequence} is full: they are fewer "
                    "than their counts say; materialize what they come from again"
                )
            remainder = (document, 0)
        document, offset = remainder
        length = min(free_tokens, len(document.tokens) - offset)
        _add(shard, document, offset, length)
        offset += length
        remainder = (document, offset) if offset < len(document.tokens) else None
    return remainder


def _add(shard: _Shard, document: PackedDocument, offset: int, length: int) -> None:
    """Append `length` tokens of a document, with a span per sequence that they overlap."""
    begin = shard.num_tokens
    shard.tokens.reshape(-1)[begin : begin + length] = document.tokens[offset : offset + length]
    max_seq_len = shard.tokens.shape[1]
    while length:
        sequence, sequence_offset = divmod(shard.num_tokens, max_seq_len)
        span_length = min(length, max_seq_len - sequence_offset)
        shard.spans.append(
            _Span(shard.first_sequence + sequence, sequence_offset, span_length, offset, document)
        )
        shard.num_tokens += span_length
        offset += span_length
        length -= span_length


def _write(folder: str, shard: _Shard) -> None:
    sequences, sequence_offsets, lengths, document_offsets, documents = zip(
        *shard.spans, strict=True
    )
    ids, text_ids, repositories, licenses, passes, _ = zip(*documents, strict=True)
    columns = {
        "sequence": sequences,
        "sequence_offset": sequence_offsets,
        "length": lengths,
        "document_id": ids,
        "text_id": text_ids,
        "document_offset": document_offsets,
        "pass_index": passes,
        "language": [shard.language] * len(shard.spans),
        "repository": repositories,
        "license": licenses,
    }
    begins = [span.document.pass_index for span in shard.spans if span.sequence_offset == 0]
    num_sequences_by_pass = np.bincount(begins).tolist()
    stats = {"language": shard.language, "passes": num_sequences_by_pass}
    put_sequences(folder, shard.index, shard.tokens, stats=stats)
    spans = pa.table(columns, schema=SPAN)
    shards.put_table(folder, "spans", shard.index, spans, SPAN, stats={"language": shard.language})
